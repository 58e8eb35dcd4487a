"""The structure of one message, found the plain way."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given

from appliance.net.conntrack import attributes as a
from appliance.net.conntrack.entry import Entry
from appliance_pfsync.walker import HEADER_BYTES, MalformedError, walk
from tests.unit.plugins.pfsync.ctmessages import connection, entries, event

ENTRY = connection("192.168.1.100", "198.51.100.1")
MESSAGE = event(ENTRY)


def test_fields_are_where_their_values_are() -> None:
    layout = walk(MESSAGE)
    at = layout.fields
    assert layout.family == 4
    assert MESSAGE[at["orig_src"] :][:4] == ENTRY.orig.src.packed
    assert MESSAGE[at["reply_dst"] :][:4] == ENTRY.reply.dst.packed
    ports = [struct.unpack_from(">H", MESSAGE, at[name])[0] for name in ("orig_sport", "orig_dport")]
    assert ports == [40000, 443]
    assert (MESSAGE[at["proto"]], MESSAGE[at["tcp_state"]]) == (6, 3)
    assert "mark" not in at


@given(entries())
def test_only_the_headers_decide(entry: Entry) -> None:
    message = event(entry)
    layout = walk(message)
    blank = bytearray(len(message))
    for at in layout.headers:
        blank[at : at + 4] = message[at : at + 4]
    assert walk(bytes(blank)) == layout


def test_of_two_attributes_of_one_kind_the_last_counts() -> None:
    message = MESSAGE + a.be32(a.STATUS, 1)
    assert walk(message).fields["status"] == len(message) - 4


@pytest.mark.parametrize("kind", [a.TUPLE_ORIG, a.TUPLE_REPLY])
def test_both_tuples_are_needed(kind: int) -> None:
    whole = dict(a.walk(MESSAGE[HEADER_BYTES:]))
    del whole[kind]
    rest = b"".join(a.attribute(number, payload) for number, payload in whole.items())
    with pytest.raises(MalformedError, match="without the tuple"):
        walk(MESSAGE[:HEADER_BYTES] + rest)


@pytest.mark.parametrize("payload", [b"", b"\0", b"\0\0\0"])
def test_a_field_that_is_too_short_is_malformed(payload: bytes) -> None:
    with pytest.raises(MalformedError, match="status has"):
        walk(MESSAGE + a.attribute(a.STATUS, payload))


@pytest.mark.parametrize("size", [0, 3, 9, 0xFFFF])
def test_an_attribute_of_impossible_length_is_malformed(size: int) -> None:
    with pytest.raises(MalformedError, match="attribute at"):
        walk(MESSAGE + struct.pack("=HH", size, 99) + bytes(4))
