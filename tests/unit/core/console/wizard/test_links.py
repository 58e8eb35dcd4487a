"""Devices and their links, of this machine and as values."""

from __future__ import annotations

import io
import os
import socket

import pytest

from appliance.console.wizard import links
from appliance.errors import UsageError


def test_a_plugged_device_is_one_that_had_no_link() -> None:
    assert links.plugged({"a": False, "b": True}, {"a": True, "b": True}) == ["a"]
    assert links.plugged({"a": True}, {"a": False}) == []
    assert links.plugged({}, {"usb0": True}) == ["usb0"]


def test_the_devices_of_this_machine_have_names_of_the_kernel_and_no_loopback() -> None:
    found = links.devices()
    assert {each.name for each in found} <= {name for _, name in socket.if_nameindex()} - {"lo"}
    assert all(each.is_up or not each.has_link for each in found)


def test_a_line_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "devices", lambda: (links.Device(name="a", mac="", is_up=True, has_link=True),))
    said = io.StringIO()
    reader, writer = os.pipe()
    with os.fdopen(reader) as stdin, os.fdopen(writer, "w") as typed:
        typed.write("\n")
        typed.flush()
        with pytest.raises(UsageError, match="no link came up"):
            links.find_plugged("wan", stdin, lambda text: print(text, file=said))
    assert "Plug in the cable of wan" in said.getvalue()


@pytest.mark.parametrize("names", [["a"], ["a", "b"]])
def test_the_device_whose_link_comes_up_is_found(monkeypatch: pytest.MonkeyPatch, names: list[str]) -> None:
    looks: list[int] = []

    def devices() -> tuple[links.Device, ...]:
        looks.append(1)
        has_link = len(looks) > 3
        return tuple(
            links.Device(name=name, mac="", is_up=True, has_link=name in names and has_link) for name in ("a", "b")
        )

    monkeypatch.setattr(links, "devices", devices)
    monkeypatch.setattr(links, "POLL_S", 0.001)
    reader, writer = os.pipe()
    with os.fdopen(reader) as stdin, os.fdopen(writer, "w"):
        if len(names) == 1:
            assert links.find_plugged("wan", stdin, str) == "a"
        else:
            with pytest.raises(UsageError, match="the links of a and b came up"):
                links.find_plugged("wan", stdin, str)
