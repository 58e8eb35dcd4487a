"""Hellos: what goes in comes out, in parts when it must, and only once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance_carp.hello import (
    HELLO_SIZE_MAX,
    NODES_MAX,
    PARTS_MAX,
    Assembler,
    Hello,
    HelloKey,
    VhidStatus,
    encode,
    fingerprint,
    parse,
)
from appliance_carp.vocabulary import State
from appliance_carp.wire import Malformed
from appliance_carp.wire import parse as parse_advert

KEY = HelloKey("secret")


def status(interface: str, vhid: int, state: State = State.BACKUP) -> VhidStatus:
    return VhidStatus((interface, vhid), state, vhid % 240, frozenset({4, 6}), fingerprint([f"10.0.0.{vhid}"]))


SMALL = Hello(
    node="fw1",
    incarnation=7,
    sequence=100,
    demotion=240,
    enabled=True,
    maintenance=True,
    fast=True,
    preempt=True,
    profile=0xDEADBEEF,
    vhids=(status("lan", 1, State.MASTER), status("wan", 2)),
    sources={"lan": ("10.1.0.2", "fe80::2"), "sync": ("10.9.0.2",), "wan": ("198.51.100.2",)},
)


def big(interfaces: int = 4, vhids: int = 255) -> Hello:
    names = [f"interface{number}" for number in range(interfaces)]
    return replace(
        SMALL,
        vhids=tuple(status(name, vhid) for name in names for vhid in range(1, vhids + 1)),
        sources={name: (f"10.{number}.0.2", f"fe80::{number + 1}") for number, name in enumerate(names)},
    )


def refused(payload: bytes, assembler: Assembler | None = None) -> str:
    with pytest.raises(Malformed) as raised:
        (assembler or Assembler(KEY)).feed(payload)
    return raised.value.counter


def test_a_small_hello_is_one_packet_and_comes_back() -> None:
    [packet] = encode(SMALL, KEY)
    received = Assembler(KEY).feed(packet)
    assert received == ("fw1", 7, 100, SMALL)


def test_255_vhids_on_4_interfaces_are_told_in_parts_of_any_order() -> None:
    hello = big()
    packets = encode(hello, KEY)
    assert 1 < len(packets) <= PARTS_MAX
    assert max(map(len, packets)) <= HELLO_SIZE_MAX
    assembler = Assembler(KEY)
    results = [assembler.feed(packet).hello for packet in reversed(packets)]
    assert results[:-1] == [None] * (len(packets) - 1)
    assert results[-1] == hello


def test_more_than_the_parts_can_hold_is_refused_by_the_sender() -> None:
    with pytest.raises(ValueError, match="parts"):
        encode(big(interfaces=30), KEY)


def test_a_node_without_vhids_says_hello_too() -> None:
    hello = replace(SMALL, vhids=(), sources={})
    assert Assembler(KEY).feed(encode(hello, KEY)[0]).hello == hello


def test_no_carp_takes_a_hello_for_an_advert() -> None:
    [packet] = encode(SMALL, KEY)
    assert packet[:2] == b"\x22\x00"
    with pytest.raises(Malformed):
        parse_advert(packet)


def test_copies_from_other_interfaces_are_known_but_told_only_once() -> None:
    assembler = Assembler(KEY)
    [packet] = encode(SMALL, KEY)
    assert assembler.feed(packet).hello is not None
    assert assembler.feed(packet) == ("fw1", 7, 100, None)


def test_anything_older_is_a_replay_even_from_an_earlier_incarnation() -> None:
    assembler = Assembler(KEY)
    assembler.feed(encode(SMALL, KEY)[0])
    for older in (replace(SMALL, sequence=99), replace(SMALL, incarnation=6, sequence=1000)):
        assert refused(encode(older, KEY)[0], assembler) == "replay"
    for newer in (replace(SMALL, sequence=101), replace(SMALL, incarnation=8, sequence=1)):
        assert assembler.feed(encode(newer, KEY)[0]).hello == newer


def test_a_newer_hello_discards_the_parts_of_an_unfinished_one() -> None:
    assembler = Assembler(KEY)
    old, new = encode(big(), KEY), encode(replace(big(), sequence=101), KEY)
    assembler.feed(old[0])
    assert [assembler.feed(packet).hello is not None for packet in new] == [False] * (len(new) - 1) + [True]
    assert refused(old[1], assembler) == "replay"


def test_another_password_is_refused() -> None:
    assert refused(encode(SMALL, HelloKey("other"))[0]) == "badauth"


def test_the_number_of_nodes_followed_is_bounded() -> None:
    assembler = Assembler(KEY)
    for number in range(3 * NODES_MAX):
        assembler.feed(encode(replace(SMALL, node=f"fw{number}"), KEY)[0])
    assert len(assembler._nodes) == NODES_MAX


def test_a_fingerprint_depends_on_the_set_and_not_on_the_order() -> None:
    assert fingerprint(["10.0.0.1", "2001:db8::1"]) == fingerprint(["2001:db8::1", "10.0.0.1", "10.0.0.1"])
    assert fingerprint(["10.0.0.1"]) != fingerprint(["10.0.0.2"])
    assert len(fingerprint([])) == 8


@given(st.integers(0, 10**4), st.integers(1, 255))
@settings(deadline=None, max_examples=100)
def test_no_changed_byte_is_accepted(at: int, flip: int) -> None:
    packet = bytearray(encode(SMALL, KEY)[0])
    packet[at % len(packet)] ^= flip
    assert refused(bytes(packet)) in {"badauth", "badver"}


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=200)
def test_unsigned_noise_is_malformed(data: bytes) -> None:
    assert refused(data) in {"badlen", "badver", "badauth"}
    assert refused(b"\x22" + data) in {"badlen", "badauth"}


@given(st.binary(max_size=200), st.integers(0, 200))
@settings(deadline=None, max_examples=300)
def test_signed_noise_raises_nothing_but_malformed_either(data: bytes, keep: int) -> None:
    genuine = encode(SMALL, KEY)[0][:-16]
    body = genuine[: max(keep, 1)] + data
    try:
        parsed = parse(body + KEY.mac(body), KEY)
    except Malformed:
        return
    assert 0 <= parsed.part < parsed.parts <= PARTS_MAX


names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=15)
statuses = st.builds(
    VhidStatus,
    st.tuples(names, st.integers(1, 255)),
    st.sampled_from(State),
    st.integers(0, 255),
    st.sets(st.sampled_from([4, 6])).map(frozenset),
    st.binary(min_size=8, max_size=8),
)


@given(
    st.lists(statuses, max_size=40, unique_by=lambda each: each.key),
    st.dictionaries(names, st.lists(st.ip_addresses().map(str), max_size=8).map(tuple), max_size=8),
    st.integers(0, 2**64 - 1),
    st.booleans(),
)
@settings(deadline=None, max_examples=100)
def test_any_hello_survives_the_wire(
    vhids: list[VhidStatus], sources: dict[str, tuple[str, ...]], sequence: int, flag: bool
) -> None:
    ordered = tuple(sorted(vhids, key=lambda each: each.key))
    told = {each.key[0]: () for each in ordered} | sources
    hello = replace(SMALL, vhids=ordered, sources=told, sequence=sequence, enabled=flag, fast=not flag)
    assembler = Assembler(KEY)
    results = [assembler.feed(packet).hello for packet in encode(hello, KEY)]
    assert results[-1] == hello
