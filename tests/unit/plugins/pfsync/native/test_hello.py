"""Hellos: they survive the wire, are signed for every secret, and garbage is told from them."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance_pfsync.native import hello as hellos
from appliance_pfsync.native.header import Malformed
from appliance_pfsync.native.hello import Entry, Hello
from appliance_pfsync.native.keys import Key, Keyring

OLD, NEW, OTHER = (Key(name, name.encode() * 16) for name in ("old", "new", "her"))
HELLO = Hello(
    node="fw-ä",
    boot=7,
    sequence=9,
    states=123,
    versions=(1, 3),
    features=5,
    entries=(Entry(8, b"o" * 16, b"e" * 16), Entry(9, b"p" * 16, bytes(16))),
)


@pytest.mark.parametrize("keys", [(), (OLD,), (OLD, NEW)])
def test_what_is_said_is_heard(keys: tuple[Key, ...]) -> None:
    signed = hellos.parse(hellos.encode(HELLO, Keyring(keys) if keys else None))
    assert signed.hello == HELLO
    assert signed.key_ids == tuple(key.id for key in keys)
    assert signed.hello.entry_for(9) == HELLO.entries[1]
    assert signed.hello.entry_for(1) is None


def test_one_common_secret_is_enough_to_check_it() -> None:
    signed = hellos.parse(hellos.encode(HELLO, Keyring((OLD, NEW))))
    assert signed.is_authentic(Keyring((OTHER, NEW)))
    assert signed.shares_key(Keyring((NEW,)))
    assert not signed.shares_key(Keyring((OTHER,)))
    assert not signed.is_authentic(Keyring((OTHER,)))


def test_a_single_changed_bit_is_noticed() -> None:
    datagram = hellos.encode(HELLO, Keyring((OLD,)))
    for bit in range(len(datagram) * 8):
        changed = bytearray(datagram)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            signed = hellos.parse(bytes(changed))
        except Malformed:
            continue
        assert not signed.is_authentic(Keyring((OLD,)))


def test_every_truncation_is_malformed() -> None:
    datagram = hellos.encode(HELLO, Keyring((OLD,)))
    for size in range(len(datagram)):
        with pytest.raises(Malformed, match="malformed"):
            hellos.parse(datagram[:size])


@given(st.binary(max_size=200))
def test_garbage_raises_nothing_but_malformed(garbage: bytes) -> None:
    for datagram in (garbage, b"\x4e\x01\x01" + garbage):
        with contextlib.suppress(Malformed):
            hellos.parse(datagram)


def test_another_format_is_said_to_be_one_and_size_is_bounded() -> None:
    with pytest.raises(Malformed, match="badversion"):
        hellos.parse(b"\x4e\x01\x02" + hellos.encode(HELLO, None)[3:])
    with pytest.raises(Malformed, match="oversized"):
        hellos.parse(bytes(10_000))


def test_more_entries_than_fit_are_left_out() -> None:
    entries = tuple(Entry(n, random.Random(n).randbytes(16), bytes(16)) for n in range(20))
    heard = hellos.parse(hellos.encode(Hello(node="a", boot=1, sequence=1, entries=entries), None)).hello
    assert heard.entries == entries[: hellos.ENTRIES_MAX]
