"""LLDP: what a switch says is read, and nothing that it could say does harm."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance_lagg.lldp import TEXT_MAX, Neighbour, parse
from tests.unit.plugins.lagg.frames import lldp_payload, value

TTL = value(3, b"\0\x78")


def test_a_switch_is_known_by_its_chassis() -> None:
    assert parse(lldp_payload(name="core-1")) == Neighbour("02:00:00:00:00:aa", "ge-0/0/1", 120, "core-1")


def test_other_kinds_of_names_are_readable() -> None:
    address = value(1, b"\x05\x01\xc0\x00\x02\x01") + value(2, b"\x03" + bytes.fromhex("020000000001")) + TTL
    assert parse(address) == Neighbour("192.0.2.1", "02:00:00:00:00:01", 120)
    local = value(1, b"\x07rack\n7") + value(2, b"\x0712") + TTL
    assert parse(local) == Neighbour("rack?7", "12", 120)


def test_what_is_incomplete_or_cut_off_is_nothing() -> None:
    whole = lldp_payload()
    assert [parse(whole[:cut]) for cut in range(len(whole) - 4)] == [None] * (len(whole) - 4)
    assert parse(value(1, b"\x04") + value(2, b"\x05") + TTL) is None


def test_a_long_name_is_cut() -> None:
    neighbour = parse(lldp_payload(name="x" * 500))
    assert neighbour is not None
    assert neighbour.name == "x" * TEXT_MAX


@given(st.binary(max_size=200))
def test_nothing_raises(payload: bytes) -> None:
    found = parse(payload)
    assert found is None or found.chassis.isprintable()


@given(st.binary(min_size=1, max_size=20), st.binary(min_size=1, max_size=20))
def test_no_identity_raises(chassis: bytes, port: bytes) -> None:
    found = parse(value(1, chassis) + value(2, port) + TTL)
    assert (found is None) == (min(len(chassis), len(port)) < 2)
