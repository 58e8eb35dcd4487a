"""Records become requests: read back by the reference parser, and compared with what the reference builds."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.net.conntrack import attributes as a
from appliance.net.conntrack import messages
from appliance.net.conntrack.entry import ICMP, ICMPV6, TCP, WITH_PORTS, Entry, Status
from appliance_pfsync import encode
from appliance_pfsync.decode import Decoder
from appliance_pfsync.flow import FLOW4, FLOW6, UDP, Flows
from tests.unit.plugins.pfsync.ctmessages import connection, entries, record

FOUR = ("192.168.1.100", "198.51.100.1")
SIX = ("2001:db8:1::64", "2001:db8:2::1")
VIP = {4: "198.51.100.200", 6: "2001:db8:2::c8"}
BEHIND = {4: "192.168.1.7", 6: "2001:db8:1::7"}


def split(buffer: bytes) -> Iterator[bytes]:
    while buffer:
        length = struct.unpack_from("=I", buffer)[0]
        assert length >= a.BODY
        yield buffer[:length]
        buffer = buffer[length:]


def attributes(message: bytes) -> dict[int, bytes]:
    return dict(a.walk(message[a.BODY :]))


def within(payload: bytes, *kinds: int) -> dict[int, bytes]:
    """The attributes of a nest, or of a nest in it."""
    for kind in kinds:
        payload = dict(a.walk(payload))[kind]
    return dict(a.walk(payload))


def sequence(message: bytes) -> int:
    return int(struct.unpack_from("=I", message, 8)[0])


def head(message: bytes) -> tuple[int, int]:
    _, kind, flags, _, _ = a.HEADER.unpack_from(message)
    return kind, flags


def join(of: list[Entry]) -> list[Flows]:
    """One array of records per family."""
    both = []
    for dtype, version in ((FLOW4, 4), (FLOW6, 6)):
        some = [record(each) for each in of if each.orig.src.version == version]
        if some:
            both.append(np.concatenate(some, dtype=dtype))
    return both


def translated(entry: Entry, *, source: bool, target: bool) -> Entry:
    """The connection behind SNAT, DNAT or both."""
    reply, version = entry.reply, entry.orig.src.version
    has_ports = entry.orig.proto in WITH_PORTS
    if source:
        reply = replace(reply, dst=ip_address(VIP[version]), dport=5001 if has_ports else 0)
        if entry.orig.proto in (ICMP, ICMPV6):
            reply = replace(reply, icmp_id=5001)
    if target:
        reply = replace(reply, src=ip_address(BEHIND[version]), sport=8080 if has_ports else 0)
    return replace(entry, reply=reply)


PLAIN = [connection(*FOUR, proto) for proto in (TCP, UDP, ICMP, 47)]
PLAIN += [connection(*SIX, proto) for proto in (TCP, UDP, ICMPV6, 132)]


@pytest.mark.parametrize("entry", PLAIN, ids=lambda entry: f"{entry.family}-{entry.orig.proto}")
@pytest.mark.parametrize(("source", "target"), [(False, False), (True, False), (False, True), (True, True)])
def test_creating_says_the_same_as_the_reference(entry: Entry, source: bool, target: bool) -> None:
    entry = translated(replace(entry, mark=7, zone=3, labels=bytes(range(16))), source=source, target=target)
    ours = attributes(encode.encode_create(record(entry), 5))
    theirs = attributes(messages.build_create(entry, 5))
    assert ours == theirs
    assert (a.NAT_SRC in ours) is source


def test_a_create_message_wants_to_be_the_first() -> None:
    message = encode.encode_create(record(connection(*FOUR)), 5)
    assert head(message) == (a.CT_NEW, a.NLM_F_REQUEST | a.NLM_F_CREATE | a.NLM_F_EXCL)
    assert len(message) == struct.unpack_from("=I", message)[0]


@given(st.lists(entries(), min_size=1, max_size=40), st.integers(0, 0xFFFF_FFFF))
def test_messages_come_in_the_order_of_the_records_and_are_numbered(some: list[Entry], seq: int) -> None:
    for flows in join(some):
        for make in (encode.encode_create, encode.encode_update, encode.encode_delete, encode.encode_get):
            made = list(split(make(flows, seq)))
            assert [sequence(each) for each in made] == [(seq + row) & 0xFFFF_FFFF for row in range(len(flows))]
            for row, each in enumerate(made):
                one = make(flows[row : row + 1], (seq + row) & 0xFFFF_FFFF)
                assert each == one


@given(entries())
def test_what_is_built_is_well_formed_and_has_the_tuples(entry: Entry) -> None:
    message = encode.encode_create(record(entry), 0)
    back = messages.parse(message)
    assert back.orig == entry.orig
    assert (back.reply.src, back.reply.dst, back.reply.proto) == (entry.orig.dst, entry.orig.src, entry.orig.proto)
    assert (back.mark, back.zone) == (entry.mark, entry.zone)
    assert back.status == entry.status & (Status.SEEN_REPLY | Status.ASSURED) | Status.CONFIRMED
    batch = Decoder().decode(message)
    assert len(batch.flows4) + len(batch.flows6) == 1


def test_the_other_fields_are_those_of_the_record() -> None:
    entry = connection(*FOUR, zone=3)
    update = attributes(encode.encode_update(record(entry), 0))
    assert set(update) == {a.TUPLE_REPLY, a.STATUS, a.TIMEOUT, a.PROTOINFO, a.MARK, a.ZONE}
    assert update[a.TUPLE_REPLY] == attributes(messages.build_delete(entry.reply, 0, by_reply=True))[a.TUPLE_REPLY]
    assert update[a.MARK] == bytes(4)
    tcp = within(update[a.PROTOINFO], a.PROTOINFO_TCP)
    assert tcp[a.TCP_STATE] == b"\3"
    assert tcp[a.FLAGS_ORIG] == tcp[a.FLAGS_REPLY] == bytes([0x0B, 0xFF])  # liberal, without MAXACK_SET
    assert (tcp[a.WSCALE_ORIG], tcp[a.WSCALE_REPLY]) == (b"\7", b"\x0a")


def test_a_change_never_takes_status_bits_back() -> None:
    for status, sent in ((0xE, 0xE), (0x1A, 0xA), (0x3FF, 0xE), (0x18, None), (0, None)):
        found = attributes(encode.encode_update(record(connection(*FOUR, status=status)), 0)).get(a.STATUS)
        assert found == (None if sent is None else sent.to_bytes(4, "big"))


def test_an_unknown_tcp_state_changes_nothing_and_is_created_as_established() -> None:
    entry = connection(*FOUR, tcp=None)
    assert a.PROTOINFO not in attributes(encode.encode_update(record(entry), 0))
    assert messages.parse(encode.encode_create(record(entry), 0)).tcp.state == 3  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("timeout", "extra", "sent"), [(0, 0, 1), (0, 5, 5), (30, 5, 35), (0xFFFF_FFFE, 5, 0xFFFF_FFFF)]
)
def test_timeouts_are_extended_within_bounds(timeout: int, extra: int, sent: int) -> None:
    flows = record(connection(*FOUR, timeout=timeout))
    for make in (encode.encode_create, encode.encode_update):
        assert attributes(make(flows, 0, extra_timeout=extra))[a.TIMEOUT] == sent.to_bytes(4, "big")


@pytest.mark.parametrize("entry", PLAIN, ids=lambda entry: f"{entry.family}-{entry.orig.proto}")
def test_deleting_and_asking_name_one_tuple(entry: Entry) -> None:
    entry = replace(translated(entry, source=True, target=False), zone=9)
    flows = record(entry)
    assert encode.encode_delete(flows, 4) == messages.build_delete(entry.orig, 4, zone=9)
    assert encode.encode_delete(flows, 4, by_reply=True) == messages.build_delete(entry.reply, 4, zone=9, by_reply=True)
    assert encode.encode_get(flows, 4) == messages.build_get(entry.orig, 4, zone=9)


def test_records_are_not_changed_and_nothing_gives_nothing() -> None:
    flows = record(connection(*FOUR))
    before = flows.tobytes()
    encode.encode_create(flows, 0, extra_timeout=5)
    assert flows.tobytes() == before
    assert encode.encode_create(flows[:0], 0) == encode.encode_get(np.zeros(0, FLOW6), 0) == b""


def test_records_that_lost_their_byte_order_are_refused() -> None:
    flows = record(connection(*FOUR))
    native = np.concatenate([flows, flows])  # without a dtype
    with pytest.raises(TypeError, match="byte order"):
        encode.encode_update(native, 0)
