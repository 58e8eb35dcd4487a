"""Messages about entries: what a kernel tells is understood, and what it is told is what it needs."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.net.conntrack import attributes as a
from appliance.net.conntrack.entry import ICMP, ICMPV6, TCP, UDP, WITH_PORTS, Group, TcpFlag
from appliance.net.conntrack.messages import (
    Entry,
    Malformed,
    Tcp,
    Tuple,
    build_create,
    build_delete,
    build_dump,
    build_get,
    build_update,
    parse,
)
from tests.unit.core.net.conntrack.entries import entries, told, tuples

CLIENT, SERVER, OUTSIDE = ip_address("10.0.0.1"), ip_address("192.0.2.9"), ip_address("198.51.100.1")
CONNECTION = Tuple(CLIENT, SERVER, TCP, 40000, 80)
ESTABLISHED = Entry(orig=CONNECTION, reply=CONNECTION.inverse, status=0x19E, timeout=300, tcp=Tcp(3, 0x21, 0x23, 7, 10))

TCP_EVENT = bytes.fromhex("""
    e8000000 00010006 00000000 31220000 02000000 34000180 14000180 08000100 0a000001 08000200 0a000002 1c000280
    05000100 06000000 06000200 00010000 06000300 00020000 34000280 14000180 08000100 0a000002 08000200 0a000001
    1c000280 05000100 06000000 06000200 00020000 06000300 00010000 08000c00 7f560e91 08000300 0000000e 08000700
    00000064 30000480 2c000180 05000100 03000000 05000200 07000000 05000300 06000000 06000400 09000000 06000500
    09000000 1c001880 08000100 00000000 08000200 00000000 08000300 00000000 08000800 00000000
""")
"""A NEW event of Linux 6.18 (nf_conntrack_netlink.c), with the empty synproxy attribute it adds."""
PING_ANSWER = bytes.fromhex("""
    00010000 00010200 00000000 d2313de6 0a000000 54000180 2c000180 14000300 fd000000 00000000 00000000 00000001
    14000400 fd000000 00000000 00000000 00000002 24000280 05000100 3a000000 06000700 004d0000 05000800 80000000
    05000900 00000000 54000280 2c000180 14000300 fd000000 00000000 00000000 00000002 14000400 fd000000 00000000
    00000000 00000099 24000280 05000100 3a000000 06000700 04d20000 05000800 81000000 05000900 00000000 08000300
    0000019e 08000800 00000000 08000c00 90f8ee83 08000b00 00000002 08000700 00000064 1c001880 08000100 00000000
    08000200 00000000 08000300 00000000
""")
"""What Linux 6.18 answers about a translated ping over IPv6."""


def inner(data: bytes, *path: int) -> bytes:
    """The payload of an attribute inside attributes."""
    for kind in path:
        data = dict(a.walk(data))[kind]
    return data


def body(message: bytes) -> bytes:
    return message[a.BODY :]


# ---------------------------------------------------------------------------------------------- parsing


@given(entries())
def test_what_a_kernel_tells_is_understood(entry: Entry) -> None:
    assert parse(told(entry)) == entry


def test_an_event_of_a_real_kernel_is_understood() -> None:
    connection = Tuple(ip_address("10.0.0.1"), ip_address("10.0.0.2"), TCP, 1, 2)
    assert parse(TCP_EVENT) == Entry(
        orig=connection,
        reply=connection.inverse,
        status=0xE,
        timeout=100,
        tcp=Tcp(3, 9, 9, 7, 6),
        id=0x7F560E91,
        kind=Group.NEW,
        port=0x2231,
    )


def test_an_answer_of_a_real_kernel_about_a_ping_is_understood() -> None:
    ping = Tuple(ip_address("fd00::1"), ip_address("fd00::2"), ICMPV6, icmp_id=77, icmp_type=128)
    entry = parse(PING_ANSWER)
    assert (entry.orig, entry.kind) == (ping, Group.UPDATE)
    assert entry.source_nat == (ip_address("fd00::99"), 1234)


def test_a_memoryview_is_a_message_too() -> None:
    assert parse(memoryview(TCP_EVENT)) == parse(TCP_EVENT)


@given(st.binary(max_size=300))
def test_noise_is_malformed_and_nothing_else(data: bytes) -> None:
    with pytest.raises(Malformed):
        parse(data)


@given(entries(), st.data())
def test_a_changed_message_is_an_entry_or_malformed(entry: Entry, data: st.DataObject) -> None:
    message = bytearray(told(entry))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Malformed):
        assert isinstance(parse(bytes(message)), Entry)


@given(entries(), st.data())
def test_a_part_of_a_message_is_malformed(entry: Entry, data: st.DataObject) -> None:
    message = told(entry)
    with pytest.raises(Malformed):
        parse(message[: data.draw(st.integers(0, len(message) - 1))])


def without(message: bytes, *kinds: int) -> bytes:
    kept = b"".join(a.attribute(kind, payload) for kind, payload in a.walk(body(message)) if kind not in kinds)
    return a.message(a.CT_NEW, 0, message[a.HEADER.size], kept, 0)


@pytest.mark.parametrize("kind", [a.TUPLE_ORIG, a.TUPLE_REPLY])
def test_an_entry_without_a_tuple_is_malformed(kind: int) -> None:
    with pytest.raises(Malformed, match="tuple is missing"):
        parse(without(TCP_EVENT, kind))


@pytest.mark.parametrize(("kind", "family"), [(a.CT_NEW, 7), (a.CT_GET, 2), (a.NLMSG_ERROR, 2)])
def test_other_messages_are_malformed(kind: int, family: int) -> None:
    with pytest.raises(Malformed):
        parse(a.message(kind, 0, family, body(TCP_EVENT), 0))


def test_the_end_of_an_entry_needs_no_more_than_its_tuples() -> None:
    ended = bytearray(without(TCP_EVENT, a.STATUS, a.TIMEOUT, a.PROTOINFO, a.MARK, a.ID, 24))
    a.HEADER.pack_into(ended, 0, len(ended), a.CT_DELETE, 0, 0, 0)
    assert parse(ended) == Entry(orig=parse(TCP_EVENT).orig, reply=parse(TCP_EVENT).reply, kind=Group.DESTROY)


# ---------------------------------------------------------------------------------------------- building


@given(entries())
def test_what_is_created_reads_as_the_entry_with_the_plain_inverse(entry: Entry) -> None:
    made = parse(build_create(entry, 5))
    assert (made.orig, made.reply) == (entry.orig, entry.orig.inverse)
    assert (made.timeout, made.mark, made.zone) == (entry.timeout, entry.mark, entry.zone)
    assert made.labels == (entry.labels if any(entry.labels) else b"")
    assert made.kind is Group.NEW


@given(entries())
def test_a_translation_leaves_the_kernel_no_choice(entry: Entry) -> None:
    found = dict(a.walk(body(build_create(entry, 0))))
    for kind, target in ((a.NAT_SRC, entry.source_nat), (a.NAT_DST, entry.destination_nat)):
        assert (kind in found) == (target is not None)
        if target is not None:
            address, port = target
            limits = (a.NAT_V4_MIN, a.NAT_V4_MAX) if address.version == 4 else (a.NAT_V6_MIN, a.NAT_V6_MAX)
            assert {inner(found[kind], limit) for limit in limits} == {address.packed}
            is_echo = entry.orig.proto in (ICMP, ICMPV6)
            assert (a.NAT_PROTO in dict(a.walk(found[kind]))) == (
                entry.orig.proto in WITH_PORTS or (is_echo and kind == a.NAT_SRC)
            )
            if entry.orig.proto in WITH_PORTS:
                ports = [inner(found[kind], a.NAT_PROTO, limit) for limit in (a.NAT_PORT_MIN, a.NAT_PORT_MAX)]
                assert ports == [port.to_bytes(2, "big")] * 2


@given(entries())
def test_only_what_means_the_same_elsewhere_is_taken_over_from_the_status(entry: Entry) -> None:
    assert int.from_bytes(inner(body(build_create(entry, 0)), a.STATUS), "big") == entry.status & 0x6 | 0x8


@given(entries())
def test_a_status_that_says_nothing_new_changes_none(entry: Entry) -> None:
    found = dict(a.walk(body(build_update(entry, 0))))
    expected = (entry.status & 0x6 | 0x8).to_bytes(4, "big") if entry.status & 0x6 else None
    assert found.get(a.STATUS) == expected


def test_both_sides_are_liberal_and_nothing_is_said_about_sequence_numbers() -> None:
    tcp = inner(body(build_create(ESTABLISHED, 0)), a.PROTOINFO, a.PROTOINFO_TCP)
    assert inner(tcp, a.FLAGS_ORIG) == bytes((TcpFlag.BE_LIBERAL | TcpFlag.WINDOW_SCALE, 0xFF))
    sack = TcpFlag.BE_LIBERAL | TcpFlag.WINDOW_SCALE | TcpFlag.SACK_PERM
    assert inner(tcp, a.FLAGS_REPLY) == bytes((sack, 0xFF))


def test_who_closed_first_is_told() -> None:
    closing = replace(ESTABLISHED, tcp=Tcp(5, TcpFlag.CLOSE_INIT, 0))
    made = parse(build_create(closing, 0)).tcp
    assert made == Tcp(5, TcpFlag.CLOSE_INIT | TcpFlag.BE_LIBERAL, TcpFlag.BE_LIBERAL)


def test_window_scales_are_told_when_both_sides_agreed_on_them() -> None:
    assert parse(build_create(ESTABLISHED, 0)).tcp == Tcp(3, 0x09, 0x0B, 7, 10)
    one_sided = replace(ESTABLISHED, tcp=Tcp(3, 0x01, 0x00, 7, 10))
    assert parse(build_create(one_sided, 0)).tcp == Tcp(3, 0x09, 0x08, 0, 0)


def test_what_is_zero_is_left_out() -> None:
    plain = Entry(orig=replace(CONNECTION, proto=UDP), reply=replace(CONNECTION, proto=UDP).inverse, labels=bytes(16))
    kinds = {kind for kind, _ in a.walk(body(build_create(plain, 0)))}
    assert kinds == {a.TUPLE_ORIG, a.TUPLE_REPLY, a.STATUS, a.TIMEOUT}


def test_an_update_names_the_entry_by_its_reply_and_never_translates() -> None:
    translated = replace(ESTABLISHED, reply=Tuple(SERVER, OUTSIDE, TCP, 80, 1024), labels=b"x" * 16)
    found = dict(a.walk(body(build_update(translated, 0))))
    assert list(found) == [a.TUPLE_REPLY, a.STATUS, a.TIMEOUT, a.PROTOINFO, a.MARK]
    assert found[a.TUPLE_REPLY] == inner(body(build_get(translated.reply, 0, by_reply=True)), a.TUPLE_REPLY)


def test_a_mark_can_be_taken_away() -> None:
    assert inner(body(build_update(ESTABLISHED, 0)), a.MARK) == bytes(4)


@pytest.mark.parametrize(
    ("message", "kind", "flags"),
    [
        pytest.param(build_create(ESTABLISHED, 9), a.CT_NEW, a.NLM_F_CREATE | a.NLM_F_EXCL, id="create"),
        pytest.param(build_create(ESTABLISHED, 9, excl=False), a.CT_NEW, a.NLM_F_CREATE, id="create or update"),
        pytest.param(build_update(ESTABLISHED, 9), a.CT_NEW, 0, id="update"),
        pytest.param(build_delete(CONNECTION, 9), a.CT_DELETE, 0, id="delete"),
        pytest.param(build_get(CONNECTION, 9), a.CT_GET, 0, id="get"),
        pytest.param(build_dump(2, 9), a.CT_GET, a.NLM_F_DUMP, id="dump"),
    ],
)
def test_a_request_says_what_it_wants_in_its_header(message: bytes, kind: int, flags: int) -> None:
    assert a.HEADER.unpack_from(message) == (len(message), kind, flags | a.NLM_F_REQUEST, 9, 0)
    assert a.FAMILY.unpack_from(message, a.HEADER.size) == (2, 0, 0)


@given(tuples(), st.integers(0, 0xFFFF), st.booleans())
def test_an_entry_is_named_by_one_tuple_and_its_zone(any_tuple: Tuple, zone: int, by_reply: bool) -> None:
    kind = a.TUPLE_REPLY if by_reply else a.TUPLE_ORIG
    for build in (build_delete, build_get):
        found = dict(a.walk(body(build(any_tuple, 0, zone=zone, by_reply=by_reply))))
        assert set(found) == ({kind, a.ZONE} if zone else {kind})
        assert found.get(a.ZONE, bytes(2)) == zone.to_bytes(2, "big")


@given(entries())
def test_every_message_ends_where_the_next_may_begin(entry: Entry) -> None:
    for message in (build_create(entry, 0), build_update(entry, 0), build_get(entry.orig, 0)):
        assert len(message) % 4 == 0
