"""A flow becomes two states and two states become a flow."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from appliance_pfsync.bsd import convert, phases, state, wire
from appliance_pfsync.bsd.actions import FORMS, TIMEOUT_S, Form, StateFlag
from appliance_pfsync.bsd.records import Record
from appliance_pfsync.bsd.state import State
from appliance_pfsync.flow import ICMP, ICMPV6, TCP, UDP, Op, Status, TcpState
from appliance_pfsync.settings import BSD_VERSIONS, Version
from tests.unit.plugins.pfsync.bsd import samples
from tests.unit.plugins.pfsync.bsd.flows import ANSWERED, dnat, flow, packed, ping, snat, udp
from tests.unit.plugins.pfsync.bsd.samples import CREATOR, ID
from tests.unit.plugins.pfsync.bsd.test_state import key, states_of

NAMES = ((ID, CREATOR), (ID + 1, CREATOR))


def states(record: Record, now: float = 0.0) -> tuple[State, State]:
    keys = convert.keys_of(record)
    assert keys is not None
    return convert.make_states(record, keys, NAMES, now)


def over_the_wire(form: Form, record: Record) -> Record | None:
    there = [state.pack(form, each, 0.0) for each in states(record)]
    inward, outward = (state.unpack(form, form.insert, raw, 50.0) for raw in there)
    return convert.to_record(inward, outward, 50.0)


@pytest.mark.parametrize(
    ("record", "sample", "first"), [(snat(), samples.SNAT_1400, ID), (dnat(), samples.DNAT_1400, ID + 2)]
)
def test_the_samples_are_what_this_node_sends(record: Record, sample: bytes, first: int) -> None:
    form = FORMS["1400"]
    made = [replace(each, identity=(first + at, CREATOR), creation=42) for at, each in enumerate(states(record))]
    assert wire.build(form, {form.insert: [state.pack(form, each, 0.0) for each in made]}).hex() == sample.hex()


@pytest.mark.parametrize(("record", "sample"), [(snat(), samples.SNAT_1400), (dnat(), samples.DNAT_1400)])
def test_the_samples_are_understood(record: Record, sample: bytes) -> None:
    inward, outward = states_of(FORMS["1400"], sample)
    assert convert.middle_of(inward) == convert.middle_of(outward)
    assert convert.to_record(inward, outward, 0.0) == record


def test_the_source_is_translated_on_the_way_out_and_the_destination_on_the_way_in() -> None:
    inward, outward = states(snat())
    assert inward.wire == inward.stack == key("10.1.0.5", 40001, "203.0.113.9", 443)
    assert outward.stack == key("203.0.113.9", 443, "10.1.0.5", 40001)
    assert outward.wire == key("203.0.113.9", 443, "198.51.100.7", 5001)
    inward, outward = states(dnat())
    assert inward.wire == key("203.0.113.50", 3333, "198.51.100.7", 80)
    assert inward.stack == key("203.0.113.50", 3333, "10.1.0.80", 8080)
    assert outward.wire == outward.stack == key("10.1.0.80", 8080, "203.0.113.50", 3333)


def test_only_tcp_is_sloppy() -> None:
    assert [each.flags for each in states(snat())] == [StateFlag.SLOPPY] * 2
    assert [each.flags for each in states(udp())] == [0, 0]


def test_one_state_alone_is_a_flow_of_the_peer_itself() -> None:
    inward, outward = states(snat())
    assert convert.to_record(inward, None, 0.0) == flow(("10.1.0.5", 40001, "203.0.113.9", 443))
    assert convert.to_record(None, outward, 0.0) == snat()
    inward, outward = states(dnat())
    assert convert.to_record(inward, None, 0.0) == dnat()
    [single] = states_of(FORMS["1400"], samples.UDP_1400)
    assert convert.to_record(None, single, 0.0) == udp(status=Status.CONFIRMED | Status.SEEN_REPLY)
    assert convert.to_record(None, None, 0.0) is None


def test_the_state_that_is_further_along_speaks_for_both() -> None:
    inward, outward = states(snat())
    convert.advance(outward, snat(tcp_state=TcpState.TIME_WAIT, timeout=90), 5.0)
    record = convert.to_record(inward, outward, 5.0)
    assert record is not None
    assert (record.tcp_state, record.timeout) == (TcpState.TIME_WAIT, 90)


def test_an_echo_keeps_its_id_and_type() -> None:
    inward, outward = states(ping())
    assert inward.wire == key("10.1.0.5", 77, "203.0.113.9", 8)
    assert convert.to_record(inward, outward, 0.0) == ping()
    translated = ping(reply_dst=packed("198.51.100.7"), reply_sport=9, status=ping().status | Status.SRC_NAT)
    assert over_the_wire(FORMS["1400"], translated) == translated
    for old in (inward, outward):  # before FreeBSD 14 the id is in both places
        old.wire = old.stack = old.wire[:32] + (77).to_bytes(2, "big") * 2
    assert convert.to_record(inward, outward, 0.0) == ping()


@pytest.mark.parametrize("name", ["1500", "openbsd"])
def test_the_sample_of_icmpv6_is_understood(name: Version) -> None:
    form = FORMS[name]
    [inward] = states_of(form, samples.ICMPV6_1500 if name == "1500" else samples.ICMPV6_OPENBSD)
    record = convert.to_record(inward, None, 0.0)
    assert record is not None
    assert (record.proto, record.family, record.status, record.timeout) == (ICMPV6, 6, Status.CONFIRMED, 10)
    assert (record.orig_sport, record.orig_dport, record.reply_sport, record.reply_dport) == (
        0x1234, 128 << 8, 0x1234, 129 << 8,
    )  # fmt: skip
    assert (record.orig_src, record.orig_dst) == (record.reply_dst, record.reply_src)


@pytest.mark.parametrize(
    "record",
    [
        snat(zone=3),
        snat(proto=132),
        udp(proto=136),
        ping(orig_dport=3 << 8),
        ping(orig_dport=8 << 8 | 1),
    ],
)
def test_pf_has_no_such_states(record: Record) -> None:
    assert convert.keys_of(record) is None


def test_linux_has_no_such_flows() -> None:
    for change in (
        {"stack_family": 6},
        {"proto": 132},
        {"direction": 0},
        {"src": state.side(11)},
        {"src": bytes(19) + b"\1" + bytes(4) + b"\4" + bytes(7)},
    ):
        inward, outward = states(snat())
        assert convert.to_record(replace(inward, **change), replace(outward, **change), 0.0) is None


def test_what_pf_counts_is_echoed() -> None:
    [outward] = states_of(FORMS["1400"], samples.INS_1400)
    convert.advance(outward, snat(tcp_state=TcpState.FIN_WAIT, timeout=120), 8.0)
    assert state.seqlo(outward.src) == 0x1000
    assert (state.side_state(outward.src), state.side_state(outward.dst), outward.timeout) == (7, 4, 3)
    assert (outward.expire, outward.age_s(10.0)) == (120, 52)


ports = st.integers(0, 65535)


@st.composite
def records(draw: st.DrawFn) -> Record:
    """Any flow that pf can carry."""
    proto = draw(st.sampled_from([TCP, UDP, ICMP, ICMPV6, 47]))
    family = 4 if proto == ICMP else 6 if proto == ICMPV6 else draw(st.sampled_from([4, 6]))
    address = st.binary(min_size=4 if family == 4 else 16, max_size=4 if family == 4 else 16)
    src, dst, inner, outer = (draw(address) for _ in range(4))
    numbers = [0, 0, 0, 0] if proto == 47 else [draw(ports) for _ in range(4)]
    if proto in (ICMP, ICMPV6):
        kind, answer = (8, 0) if proto == ICMP else (128, 129)
        numbers = [numbers[0], kind << 8, numbers[1], answer << 8]
        translated = (Status.SRC_NAT if outer != src else 0) | (Status.DST_NAT if inner != dst else 0)
    else:
        translated = (Status.SRC_NAT if (outer, numbers[3]) != (src, numbers[0]) else 0) | (
            Status.DST_NAT if (inner, numbers[2]) != (dst, numbers[1]) else 0
        )
    seen = draw(st.sampled_from([0, Status.SEEN_REPLY, ANSWERED]))
    tcp = TcpState.NONE
    if proto == TCP:
        tcp = draw(st.sampled_from(list(TcpState)[1:9]))
        seen = Status(0) if tcp == TcpState.SYN_SENT else ANSWERED
    elif proto in (ICMP, ICMPV6):
        seen &= Status.SEEN_REPLY
    flags = (8, 8) if proto == TCP else (0, 0)
    if tcp in (TcpState.FIN_WAIT, TcpState.CLOSE_WAIT, TcpState.LAST_ACK):
        flags = draw(st.sampled_from([(12, 8), (8, 12)]))
    record = Record(
        Op.INSERT, proto, 0, src, dst, numbers[0], numbers[1], inner, outer, numbers[2], numbers[3],
        Status.CONFIRMED | seen | translated, 1, 0, tcp, *flags,
    )  # fmt: skip
    most = TIMEOUT_S[phases.to_sides(proto, convert.phase_of(record)).timeout]
    whole = phases.default_s(proto, convert.phase_of(record))
    return record._replace(timeout=draw(st.integers(1, most) | st.just(whole)))


@given(records(), st.sampled_from(BSD_VERSIONS))
def test_a_flow_survives_the_way_to_pf_and_back(record: Record, name: Version) -> None:
    assert over_the_wire(FORMS[name], record) == record


@given(records(), st.integers(0, 2**32 - 1), st.binary(min_size=16, max_size=16))
def test_marks_and_labels_are_lost(record: Record, mark: int, labels: bytes) -> None:
    assume(mark or any(labels))
    assert over_the_wire(FORMS["1400"], record._replace(mark=mark, labels=labels)) == record
