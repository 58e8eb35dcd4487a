"""Side effects and changed module variables are noticed, reading is not."""

from __future__ import annotations

import socket
import subprocess
import sys
import types
from pathlib import Path

import pytest

from appliance.testing.purity import changed, module_state, watched


def test_opening_a_socket_and_starting_a_process_are_offences() -> None:
    with watched() as offences:
        socket.socket().close()
        subprocess.run(["true"], check=True)
    assert "opened a socket" in offences
    assert "started a process" in offences


def test_writing_a_file_is_an_offence_and_reading_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with watched() as offences:
        path.write_text("x")
        path.read_text()
    assert offences == [f"wrote to {path}"]


def test_importing_a_module_is_no_offence() -> None:
    sys.modules.pop("colorsys", None)
    with watched() as offences:
        __import__("colorsys")
    assert offences == []


def test_nothing_is_recorded_outside_the_block() -> None:
    with watched() as offences:
        pass
    socket.socket().close()
    assert offences == []


def test_a_changed_module_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("appliance_sample.state")
    vars(module).update(seen=[], LIMIT=3, function=len)
    monkeypatch.setitem(sys.modules, "appliance_sample.state", module)
    before = module_state("appliance_sample")
    vars(module)["seen"].append("a")
    vars(module)["new"] = 1
    assert changed(before, module_state("appliance_sample")) == ["appliance_sample.state.seen"]
