"""Events of the kernel become records: the fast ways say what the plain one says, whatever the bytes are."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.net.conntrack import attributes as a
from appliance.net.conntrack import messages
from appliance.net.conntrack.entry import Entry, Group
from appliance_pfsync.decode import LEARN_MAX, TOGETHER_MIN, Batch, Decoder
from appliance_pfsync.flow import FLOW4, FLOW6, ICMP, ICMPV6, TCP, UDP, Op
from tests.unit.plugins.pfsync.ctmessages import connection, entries, event, record

DONE = struct.pack("=IHHIIi", 20, 3, 2, 0, 0, 0)
ERROR = struct.pack("=IHHIIi", 36, 2, 0, 0, 0, -17) + bytes(16)
EXPECTATION = struct.pack("=IHHII", 20, 0x0200, 0, 0, 0) + bytes(4)

FOUR = ("192.168.1.100", "198.51.100.1")
SIX = ("2001:db8:1::64", "2001:db8:2::1")
KINDS = [connection(*FOUR, proto) for proto in (TCP, UDP, ICMP, 47, 50)]
KINDS += [connection(*SIX, proto) for proto in (TCP, UDP, ICMPV6, 132)]


def decode(*parts: bytes, dump: bool = False) -> Batch:
    return Decoder().decode(b"".join(parts), dump=dump)


def told(batch: Batch) -> tuple[bytes, bytes, list[int], list[int]]:
    return batch.flows4.tobytes(), batch.flows6.tobytes(), batch.pids4.tolist(), batch.pids6.tolist()


def expected(of: list[Entry], op: Op | None = None) -> tuple[bytes, bytes, list[int], list[int]]:
    four = [each for each in of if each.orig.src.version == 4]
    six = [each for each in of if each.orig.src.version == 6]
    data = [b"".join(record(each, op).tobytes() for each in family) for family in (four, six)]
    return data[0], data[1], [each.port for each in four], [each.port for each in six]


@pytest.mark.parametrize("entry", KINDS, ids=lambda entry: f"{entry.family}-{entry.orig.proto}")
@pytest.mark.parametrize("count", [1, TOGETHER_MIN, 100])
def test_every_protocol_is_decoded(entry: Entry, count: int) -> None:
    batch = decode(event(entry) * count)
    assert told(batch) == expected([entry] * count)
    assert (batch.skipped, batch.unsupported) == (0, 0)


@pytest.mark.parametrize("count", [1, TOGETHER_MIN])
def test_new_changed_and_ended_connections_are_told_apart(count: int) -> None:
    three = [connection(*FOUR, kind=kind, port=kind) for kind in (Group.NEW, Group.UPDATE, Group.DESTROY)]
    batch = decode(*[event(each) for each in three] * count)
    assert batch.flows4["op"].tolist() == [Op.INSERT, Op.UPDATE, Op.DELETE] * count
    assert batch.pids4.tolist() == [1, 2, 3] * count


@pytest.mark.parametrize("count", [1, TOGETHER_MIN])
def test_in_the_answer_to_a_question_everything_is_an_insert(count: int) -> None:
    batch = decode(event(connection(*FOUR, kind=Group.UPDATE)) * count, DONE, dump=True)
    assert batch.flows4["op"].tolist() == [Op.INSERT] * count
    assert batch.skipped == 1


@given(
    st.lists(entries(), max_size=12), st.sampled_from([1, TOGETHER_MIN, 2 * TOGETHER_MIN]), st.booleans(), st.randoms()
)
def test_many_together_are_what_the_reference_says_of_each(
    some: list[Entry], times: int, zone_within: bool, chance: random.Random
) -> None:
    mixed = some * times
    chance.shuffle(mixed)
    buffer = b"".join(event(each, zone_within=zone_within) for each in mixed)
    decoder = Decoder()
    for _ in range(2):  # unknown shapes, then known ones
        assert told(decoder.decode(buffer)) == expected(mixed)
    assert told(decoder.decode(buffer, dump=True)) == expected(mixed, Op.INSERT)
    if not zone_within:
        for each in mixed[:12]:
            parsed = messages.parse(event(each))
            assert expected([parsed]) == expected([each])


@given(st.binary(max_size=400), st.integers(0, 1 << 32))
def test_random_bytes_never_raise(noise: bytes, seed: int) -> None:
    decode(noise)
    body = noise[: len(noise) // 4 * 4]
    header = a.HEADER.pack(a.BODY + len(body), a.CT_NEW, 0, 0, 0)
    batch = decode((header + bytes(4) + body) * (1 + seed % 40))
    assert not len(batch.flows4) or len(batch.flows4) == 1 + seed % 40


@given(st.lists(entries(), min_size=1, max_size=4), st.data())
def test_damaged_messages_are_the_same_alone_and_together(some: list[Entry], data: st.DataObject) -> None:
    damaged = []
    for each in some * 10:
        message = bytearray(event(each))
        for _ in range(data.draw(st.integers(0, 2))):
            message[data.draw(st.integers(16, len(message) - 1))] = data.draw(st.integers(0, 255))
        damaged.append(bytes(message))
    together = decode(*damaged)
    alone = [decode(each) for each in damaged]
    for family in ("flows4", "flows6", "pids4", "pids6"):
        parts = [getattr(each, family).tobytes() for each in alone]
        assert getattr(together, family).tobytes() == b"".join(parts)
    assert together.skipped == sum(each.skipped for each in alone)
    assert together.unsupported == sum(each.unsupported for each in alone)


@pytest.mark.parametrize("count", [1, TOGETHER_MIN])
def test_what_is_not_about_connections_is_skipped_and_counted(count: int) -> None:
    good = event(connection(*FOUR))
    batch = decode(*[ERROR, good, EXPECTATION, good, DONE] * count)
    assert (len(batch.flows4), batch.skipped) == (2 * count, 3 * count)


def test_a_message_that_is_cut_off_ends_the_batch() -> None:
    good = event(connection(*FOUR))
    for length in range(4, len(good)):
        batch = decode(good, good[:length])
        assert (len(batch.flows4), batch.skipped) == (1, 1)
    assert decode(good, bytes(16), good).skipped == 1


@pytest.mark.parametrize("count", [1, TOGETHER_MIN])
def test_a_translation_between_the_families_fits_no_record(count: int) -> None:
    four, six = event(connection(*FOUR)), event(connection(*SIX))
    orig = four[20 : 20 + struct.unpack_from("=H", four, 20)[0]]
    at = 20 + struct.unpack_from("=H", six, 20)[0]
    reply = six[at : at + struct.unpack_from("=H", six, at)[0]]
    mixed = a.HEADER.pack(20 + len(orig + reply), a.CT_NEW, 0, 0, 0) + bytes(4) + orig + reply
    batch = decode(*[mixed, four] * count)
    assert (len(batch.flows4), batch.unsupported, batch.skipped) == (count, count, 0)


def test_attributes_that_no_record_has_change_nothing() -> None:
    entry = connection(*FOUR)
    helper = a.nested(5, a.attribute(1, b"ftp\0"))
    counters = a.nested(9, a.attribute(1, bytes(8)), a.attribute(2, bytes(8)))
    master = a.nested(14, a.nested(a.TUPLE_IP, a.attribute(1, b"abcd")))
    for more in ((helper,), (counters, helper), (master, counters, helper), (a.attribute(0x3FFF, b"x"),)):
        for count in (1, TOGETHER_MIN):
            assert told(decode(event(entry, *more) * count)) == expected([entry] * count)


def test_records_may_be_changed_by_who_gets_them() -> None:
    for count in (1, TOGETHER_MIN):
        batch = decode(event(connection(*FOUR)) * count, event(connection(*SIX)) * count)
        batch.flows4["op"] = batch.flows6["op"] = Op.REQUEST
        assert batch.flows4.dtype == FLOW4
        assert batch.flows6.dtype == FLOW6


def test_any_kind_of_buffer_will_do() -> None:
    entry = connection(*FOUR)
    buffers: list[Any] = [event(entry), bytearray(event(entry)), memoryview(bytearray(event(entry) + b"x"))[:-1]]
    for buffer in buffers:
        assert told(Decoder().decode(buffer)) == expected([entry])


def test_the_number_of_remembered_shapes_is_bounded() -> None:
    decoder = Decoder(templates_max=10)
    entry = connection(*FOUR)
    odd = [event(entry, a.attribute(0x1000 + number, b"1234")) for number in range(200)]
    for _ in range(2):
        assert len(decoder.decode(b"".join(odd)).flows4) == 200
        assert len(decoder._templates) == 10
    assert LEARN_MAX < 200  # so that most of them have gone one by one
    assert told(decoder.decode(event(entry) * 50)) == expected([entry] * 50)


def test_an_empty_batch_is_empty_arrays() -> None:
    batch = decode()
    assert (batch.flows4.dtype, batch.flows6.dtype, len(batch.pids4), len(batch.pids6)) == (FLOW4, FLOW6, 0, 0)
