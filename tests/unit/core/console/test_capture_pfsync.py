"""What is shown of a pfsync datagram."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from appliance.console.capture_pfsync import fields


def bsd(version: int, *sections: bytes) -> bytes:
    body = b"".join(sections)
    return struct.pack("!BBH16s", version, 0, 20 + len(body), bytes(16)) + body


def section(action: int, count: int, size: int, words: int = 0) -> bytes:
    return struct.pack("!BBH", action, words, count) + bytes(count * size)


def test_the_messages_of_freebsd_are_counted() -> None:
    told = fields(bsd(5, section(13, 2, 277), section(4, 1, 84), section(12, 1, 0)))
    assert (told["version"], told["messages"]) == (5, ["INS_1400 x2", "UPD_C x1"])


def test_the_messages_of_openbsd_say_their_own_size() -> None:
    told = fields(bsd(6, section(14, 3, 264, 66), section(7, 1, 12, 3)))
    assert told["messages"] == ["UPD x3", "DEL_C x1"]


def test_what_is_cut_off_is_said_to_be() -> None:
    assert fields(bsd(5, section(1, 2, 242))[:-1])["messages"] == ["INS_1301 x2 (cut off)"]


def test_a_hello_of_our_own_tells_who_says_it() -> None:
    head = struct.pack("!BBBBQQIBBHB", 0x4E, 1, 1, 2, 0xABC, 7, 1042, 1, 2, 0, 3)
    told = fields(head + b"fw2" + bytes(40))
    assert told == {
        "form": "native",
        "hello": "fw2",
        "versions": "1-2",
        "states": 1042,
        "keys": 2,
        "boot": "0000000000000abc",
        "sequence": 7,
    }


def test_of_an_encrypted_datagram_only_the_outside_is_told() -> None:
    told = fields(bytes((0x4E, 2, 1, 0)) + bytes.fromhex("01020304") + (9).to_bytes(8) + bytes(64))
    assert told == {"form": "native", "session": "01020304", "counter": 9, "length": 80}


@given(st.binary(max_size=80), st.sampled_from([b"", b"\x05", b"\x06", b"\x4e\x01", b"\x4e\x02"]))
def test_any_bytes_are_told_somehow(data: bytes, head: bytes) -> None:
    assert fields(head + data)
