"""One shape is learned once, and recognised exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.net.conntrack import attributes as a
from appliance.net.conntrack.entry import TCP, UDP, Entry
from appliance_pfsync.templates import Rows, Template, TemplateCache
from appliance_pfsync.walker import MalformedError
from tests.unit.plugins.pfsync.ctmessages import connection, entries, event, record

ENTRY = connection("192.168.1.100", "198.51.100.1", TCP)


def rows(*messages: bytes) -> Rows:
    return np.frombuffer(b"".join(messages), np.uint32).reshape(len(messages), -1).copy()


def fits(template: Template, message: bytes) -> bool:
    return int.from_bytes(message, "little") & template.mask == template.constant


@given(entries())
def test_one_and_many_give_the_same_record(entry: Entry) -> None:
    message = event(entry)
    template = Template(message)
    assert fits(template, message)
    (one,) = np.frombuffer(template.record(message), record(entry).dtype)
    many = template.records(rows(message, message))
    wanted = record(entry, op=None)
    wanted["op"] = 0
    assert one.tobytes() == many[0].tobytes() == many[1].tobytes() == wanted.tobytes()


@given(st.integers(20, len(event(ENTRY)) - 1), st.integers(1, 255))
def test_a_message_fits_until_one_of_its_headers_differs(at: int, change: int) -> None:
    message = event(ENTRY)
    template = Template(message)
    other = bytearray(message)
    other[at] ^= change
    is_header = bool(template.mask >> at * 8 & 0xFF)
    assert fits(template, bytes(other)) is not is_header
    assert template.fitting(rows(message, bytes(other), message)).tolist() == [True, not is_header, True]


def test_the_protocol_is_a_value_and_no_part_of_the_shape() -> None:
    other = replace(ENTRY, orig=replace(ENTRY.orig, proto=UDP), reply=replace(ENTRY.reply, proto=UDP))
    assert fits(Template(event(ENTRY)), event(other))


def test_what_is_malformed_is_not_learned() -> None:
    cache = TemplateCache(4)
    with pytest.raises(MalformedError):
        cache.learn(event(ENTRY)[:60])
    assert len(cache) == 0


def test_the_oldest_shape_is_forgotten_first() -> None:
    cache = TemplateCache(2)
    learned = [cache.learn(event(ENTRY, a.attribute(0x1000 + number, b""))) for number in range(3)]
    assert cache.of(learned[0].size) == tuple(learned[1:])
    cache.learn(event(ENTRY))
    cache.learn(event(replace(ENTRY, mark=1, zone=1)))
    assert cache.of(learned[0].size) == ()
    assert len(cache) == 2
