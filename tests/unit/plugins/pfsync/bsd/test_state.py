"""Full states: the samples both ways, and which ones pf would refuse."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance_pfsync.bsd import state, wire
from appliance_pfsync.bsd.actions import FORMS, Action, Form
from appliance_pfsync.bsd.state import Invalid, State
from appliance_pfsync.settings import BSD_VERSIONS, Version
from tests.unit.plugins.pfsync.bsd import samples
from tests.unit.plugins.pfsync.bsd.samples import CREATOR, ID

STATES: dict[Version, bytes] = {
    "1301": samples.INS_1301,
    "1400": samples.INS_1400,
    "1500": samples.INS_1500,
    "openbsd": samples.INS_OPENBSD,
}


def states_of(form: Form, datagram: bytes, now: float = 0.0) -> list[State]:
    [section] = wire.sections(form, datagram, Counter())
    return [state.unpack(form, section.action, message, now) for message in section.messages]


def key(first: str, first_port: int, second: str, second_port: int) -> bytes:
    a, b = ip_address(first).packed, ip_address(second).packed
    return a.ljust(16, b"\0") + b.ljust(16, b"\0") + first_port.to_bytes(2, "big") + second_port.to_bytes(2, "big")


@pytest.mark.parametrize("name", list(STATES))
def test_the_sample_state_is_read_alike_in_every_form(name: Version) -> None:
    [found] = states_of(FORMS[name], STATES[name])
    assert found.identity == (ID, CREATOR)
    assert (found.direction, found.proto, found.timeout, found.flags) == (2, 6, 2, 0)
    assert (found.wire_family, found.stack_family) == (4, 4)
    assert (found.creation, found.expire, found.ifname) == (42, 600, "all")
    assert found.wire == key("203.0.113.9", 443, "198.51.100.7", 5001)
    assert found.stack == key("203.0.113.9", 443, "10.1.0.5", 40001)
    assert (state.side_state(found.src), state.side_state(found.dst)) == (4, 4)
    assert (state.seqlo(found.src), state.seqlo(found.dst)) == (0x1000, 0x2000)


@pytest.mark.parametrize(
    ("name", "sample"),
    [
        *STATES.items(),
        ("1400", samples.SNAT_1400),
        ("1400", samples.DNAT_1400),
        ("1400", samples.UDP_1400),
        ("1500", samples.ICMPV6_1500),
        ("openbsd", samples.ICMPV6_OPENBSD),
    ],
)
def test_the_samples_are_written_as_they_were_read(name: Version, sample: bytes) -> None:
    form = FORMS[name]
    packed = [state.pack(form, found, 7.0) for found in states_of(form, sample, 7.0)]
    assert wire.build(form, {form.insert: packed}).hex() == sample.hex()


@pytest.mark.parametrize(("name", "inet6"), [("1500", 28), ("openbsd", 24)])
def test_ipv6_has_the_number_of_that_system(name: Version, inet6: int) -> None:
    form = FORMS[name]
    [found] = states_of(form, samples.ICMPV6_1500 if name == "1500" else samples.ICMPV6_OPENBSD)
    assert (found.wire_family, found.proto, found.direction, found.timeout) == (6, 58, 1, 9)
    raw = bytearray(state.pack(form, found, 0.0))
    at = 250 if name == "openbsd" else 344
    assert raw[at] == inet6
    for place in (at, 62, 102) if name == "openbsd" else (at,):
        raw[place] = 10  # Linux's AF_INET6 is nobody's on the wire
    with pytest.raises(Invalid):
        state.unpack(form, form.insert, bytes(raw), 0.0)


def test_openbsd_may_leave_the_family_of_the_keys_out() -> None:
    form = FORMS["openbsd"]
    [found] = states_of(form, samples.INS_OPENBSD)
    raw = bytearray(state.pack(form, found, 0.0))
    raw[62] = raw[102] = 0
    assert state.unpack(form, Action.INS, bytes(raw), 0.0) == found


@pytest.mark.parametrize(
    ("at", "value"), [(239, 25), (96 + 24, 13), (128 + 24, 13), (234, 3), (232, 10), (slice(228, 232), bytes(4))]
)
def test_pf_refuses_what_is_out_of_range(at: int | slice, value: int | bytes) -> None:
    form = FORMS["1400"]
    [found] = states_of(form, samples.INS_1400)
    raw = bytearray(state.pack(form, found, 0.0))
    raw[at] = value  # type: ignore[index,assignment]
    with pytest.raises(Invalid):
        state.unpack(form, form.insert, bytes(raw), 0.0)


def test_a_name_without_an_end_is_refused() -> None:
    form = FORMS["1301"]
    [found] = states_of(form, samples.INS_1301)
    raw = bytearray(state.pack(form, found, 0.0))
    raw[8:24] = b"x" * 16
    with pytest.raises(Invalid):
        state.unpack(form, form.insert, bytes(raw), 0.0)


def test_age_grows_and_what_remains_shrinks_until_it_is_sent() -> None:
    form = FORMS["1400"]
    [found] = states_of(form, samples.INS_1400, 100.0)
    later = state.unpack(form, form.insert, state.pack(form, found, 110.0), 110.0)
    assert (later.creation, later.expire) == (52, 590)
    late = state.unpack(form, form.insert, state.pack(form, found, 900.0), 900.0)
    assert late.expire == 1, "0 would be the whole timeout"
    whole = replace(found, expire=0)
    assert state.unpack(form, form.insert, state.pack(form, whole, 900.0), 900.0).expire == 0


def test_only_the_low_flags_travel_in_1301() -> None:
    for name in STATES:
        form, expected = FORMS[name], 0x12 if name == "1301" else 0x8112
        [found] = states_of(form, STATES[name])
        found.flags = 0x8102
        assert state.unpack(form, form.insert, state.pack(form, found, 0.0, 0x10), 0.0).flags == expected


def test_nat64_is_seen_in_1500() -> None:
    form = FORMS["1500"]
    [found] = states_of(form, samples.INS_1500)
    back = state.unpack(form, form.insert, state.pack(form, replace(found, stack_family=6), 0.0), 0.0)
    assert (back.wire_family, back.stack_family) == (4, 6)


def test_a_side_keeps_what_is_known_about_its_packets() -> None:
    [found] = states_of(FORMS["1400"], samples.INS_1400)
    moved = state.with_state(found.src, 7, 0x87)
    assert (state.side_state(moved), state.side_wscale(moved), state.seqlo(moved)) == (7, 0x87, 0x1000)
    assert state.side_wscale(state.with_state(moved, 9, 0x83)) == 0x87
    assert not state.is_modulated(moved)
    assert state.is_modulated(moved[:16] + b"\0\0\0\1" + moved[20:])


@given(st.sampled_from(BSD_VERSIONS), st.data())
def test_any_bytes_are_a_state_or_invalid(name: Version, data: st.DataObject) -> None:
    form = FORMS[name]
    raw = data.draw(st.binary(min_size=form.state_bytes, max_size=form.state_bytes))
    try:
        found = state.unpack(form, form.insert, raw, 0.0)
    except Invalid:
        return
    assert state.unpack(form, form.insert, state.pack(form, found, 0.0), 0.0).identity == found.identity
