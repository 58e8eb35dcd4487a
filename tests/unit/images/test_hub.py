"""Segments between virtual machines: frames reach everybody else, unless the cable is out."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance_images.hub import Hub, Segment


def test_a_frame_reaches_all_others_and_not_its_sender(tmp_path: Path) -> None:
    with Hub([Segment(tmp_path, "lan", ("one", "two", "three"))]) as hub:
        one, two, three = (hub.segments["lan"].station(name) for name in ("one", "two", "three"))
        with one, two, three:
            for station in (one, two, three):
                station.settimeout(10)
            one.send(b"frame")
            assert (two.recv(99), three.recv(99)) == (b"frame", b"frame")
            two.send(b"answer")
            assert (one.recv(99), three.recv(99)) == (b"answer", b"answer")
            assert hub.segments["lan"].frames == 2


def test_a_machine_whose_cable_is_out_hears_and_says_nothing(tmp_path: Path) -> None:
    with Hub([Segment(tmp_path, "lan", ("one", "two", "three"))]) as hub:
        segment = hub.segments["lan"]
        one, two, three = (segment.station(name) for name in ("one", "two", "three"))
        with one, two, three:
            segment.cut.add("two")
            three.settimeout(10)
            two.send(b"lost")
            one.send(b"heard")
            assert three.recv(99) == b"heard"
            two.setblocking(False)
            with pytest.raises(BlockingIOError):
                two.recv(99)


def test_qemu_is_told_both_ends(tmp_path: Path) -> None:
    with Hub([Segment(tmp_path, "wan", ("fw1",))]) as hub:
        told = hub.segments["wan"].netdev("fw1", "net0")
    assert told.startswith("dgram,id=net0,local.type=unix,local.path=")
    assert told.endswith(f"remote.path={tmp_path / 'wan-fw1.hub'}")
