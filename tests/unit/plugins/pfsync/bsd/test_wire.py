"""Datagrams of BSD's pfsync: the samples both ways, and what cannot be read."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance_pfsync.bsd import state, wire
from appliance_pfsync.bsd.actions import FORMS, Action, Bus, Form
from appliance_pfsync.bsd.wire import Compressed, Section
from tests.unit.plugins.pfsync.bsd import samples
from tests.unit.plugins.pfsync.bsd.samples import CREATOR, ID

V5, V6 = FORMS["1400"], FORMS["openbsd"]
SRC = bytes.fromhex("0000000000000000000010000001100000000000ffff05b40487000000000000")
DST = bytes.fromhex("0000000000000000000020000001200000000000ffff05b40487000000000000")


def read(form: Form, datagram: bytes) -> tuple[list[Section], Counter[str]]:
    counters: Counter[str] = Counter()
    assert wire.refused(form, datagram) == ""
    found = list(wire.sections(form, datagram, counters))
    return found, +counters


@pytest.mark.parametrize(
    ("form", "sample", "action", "message"),
    [
        (V5, samples.BULK_REQUEST5, Action.UPD_REQ, wire.pack_identity(wire.BULK_REQUEST)),
        (V6, samples.BULK_REQUEST6, Action.UPD_REQ, wire.pack_identity(wire.BULK_REQUEST)),
        (V5, samples.BUS_START5, Action.BUS, wire.pack_bus(CREATOR, 0, Bus.START)),
        (V5, samples.BUS_END5, Action.BUS, wire.pack_bus(CREATOR, 3, Bus.END)),
        (V6, samples.BUS_END6, Action.BUS, wire.pack_bus(CREATOR, 0, Bus.END)),
        (V5, samples.DEL_C5, Action.DEL_C, wire.pack_identity((ID, CREATOR))),
        (V5, samples.INS_ACK5, Action.INS_ACK, wire.pack_identity((ID, CREATOR))),
        (V6, samples.INS_ACK6, Action.INS_ACK, wire.pack_identity((ID, CREATOR))),
        (V5, samples.CLR5, Action.CLR, wire.pack_clear(CREATOR)),
        (V5, samples.UPD_C5, Action.UPD_C, wire.pack_compressed(Compressed((ID, CREATOR), SRC, DST, 2))),
    ],
)
def test_the_samples_are_written_and_read(form: Form, sample: bytes, action: Action, message: bytes) -> None:
    assert wire.build(form, {action: [message]}).hex() == sample.hex()
    assert read(form, sample) == ([Section(action, [message])], Counter())


def test_the_fields_of_the_messages_are_read() -> None:
    [bus] = read(V5, samples.BUS_END5)[0]
    assert wire.unpack_bus(bus.messages[0]) == (CREATOR, 3, Bus.END)
    [update] = read(V5, samples.UPD_C5)[0]
    assert wire.unpack_compressed(update.messages[0]) == Compressed((ID, CREATOR), SRC, DST, 2)
    assert state.seqlo(SRC) == 0x1000
    assert wire.unpack_clear(wire.pack_clear(CREATOR, "em0")) == (CREATOR, "em0")


def test_both_versions_refuse_each_other_and_whatever_is_cut() -> None:
    assert wire.refused(V5, samples.BULK_REQUEST6) == "badver"
    assert wire.refused(V6, samples.BULK_REQUEST5) == "badver"
    assert wire.refused(V5, samples.DEL_C5[:-1]) == "badlen"
    assert wire.refused(V5, samples.DEL_C5[:19]) == "hdrops"
    assert wire.refused(V5, samples.DEL_C5 + b"trailer") == ""


@pytest.mark.parametrize("number", [6, 8, 9, 17, 255])
def test_nothing_behind_an_unknown_action_can_be_read_in_version_5(number: int) -> None:
    known = bytes.fromhex("07000001") + wire.pack_identity((ID, CREATOR))
    body = known + bytes((number, 0, 0, 1)) + bytes(12) + known
    found, counters = read(V5, _with_header(5, body))
    assert [section.action for section in found] == [Action.DEL_C]
    assert counters == {"badact": 1}


def test_version_6_steps_over_what_it_does_not_know() -> None:
    known = bytes.fromhex("07030001") + wire.pack_identity((ID, CREATOR))
    old_insert, tdb, too_short = b"\x01\x02\0\2" + bytes(16), b"\x0f\x0d\0\1" + bytes(52), b"\x0d\x01\0\1" + bytes(4)
    found, counters = read(V6, _with_header(6, old_insert + tdb + too_short + known))
    assert [section.action for section in found] == [Action.DEL_C]
    assert counters == {}


def test_version_6_takes_longer_messages() -> None:
    name = wire.pack_identity((ID, CREATOR))
    body = bytes.fromhex("07040002") + name + b"more" + name + b"more"
    assert read(V6, _with_header(6, body))[0] == [Section(Action.DEL_C, [name, name])]


def test_a_section_that_is_cut_is_dropped_with_all_behind_it() -> None:
    body = bytes.fromhex("07000001") + wire.pack_identity((ID, CREATOR)) + bytes.fromhex("07000009") + bytes(30)
    found, counters = read(V5, _with_header(5, body))
    assert len(found) == 1
    assert counters == {"badlen": 1}


def test_an_end_before_the_end_is_counted() -> None:
    assert read(V5, _with_header(5, bytes.fromhex("0c000001") * 2)) == ([], Counter(badlen=1))


def test_subheaders_stand_in_the_order_of_the_dialect() -> None:
    messages = {action: [bytes(12)] for action in (Action.BUS, Action.DEL_C, Action.INS_ACK)}
    messages[Action.INS] = [bytes(277)]
    found, _ = read(V5, wire.build(V5, messages))
    assert [s.action for s in found] == [Action.INS, Action.INS_ACK, Action.DEL_C, Action.BUS]
    messages[Action.INS] = [bytes(264)]
    found, _ = read(V6, wire.build(V6, messages))
    assert [s.action for s in found] == [Action.INS_ACK, Action.DEL_C, Action.INS, Action.BUS]


def test_as_much_fits_into_1500_bytes_as_in_bsd() -> None:
    assert [FORMS[name].states_per_datagram(1500) for name in ("1301", "1400", "1500", "openbsd")] == [5, 5, 3, 5]
    assert (V5.budget(1500) - 4) // 84 == 17
    assert (V5.budget(1500) - 4) // 12 == 119


@given(st.sampled_from(list(FORMS.values())), st.binary(max_size=400))
def test_any_bytes_are_read_without_a_fault(form: Form, body: bytes) -> None:
    datagram = _with_header(form.version, body)
    for section in wire.sections(form, datagram, Counter()):
        assert all(len(message) == form.sizes[section.action] for message in section.messages)


def _with_header(version: int, body: bytes) -> bytes:
    return bytes((version, 0)) + (20 + len(body)).to_bytes(2, "big") + bytes(16) + body
