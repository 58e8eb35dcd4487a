"""The ring of logged packets and the words that choose among them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from appliance.errors import UsageError
from appliance_firewall.blocklog import CAPACITY, WORDS_MAX, BlockLog, Entry, parse_filter, row
from appliance_firewall.packets import MALFORMED, Packet

TCP = Packet(
    version=4, protocol="tcp", source=IPv4Address("203.0.113.7"), destination=IPv4Address("192.168.1.10"),
    source_port=40000, destination_port=443, flags="S", length=60,
)  # fmt: skip
PING6 = Packet(
    version=6, protocol="icmp6", source=IPv6Address("2001:db8::7"), destination=IPv6Address("2001:db8::1"),
    icmp="echo-request", length=104,
)  # fmt: skip


def add(log: BlockLog, packet: Packet = TCP, **values: Any) -> Entry:
    standard: dict[str, Any] = {
        "wall": 1000.0, "rule": "default", "action": "block", "direction": "forward", "interface": "wan",
        "out_interface": "lan",
    }  # fmt: skip
    return log.add(**standard | values, packet=packet)


def everything(_: Entry) -> bool:
    return True


def test_entries_are_numbered_and_the_oldest_gives_way() -> None:
    log = BlockLog(capacity=3)
    for _ in range(5):
        add(log)
    assert [entry.seq for entry in log.last(everything, 10)] == [3, 4, 5]
    assert (len(log), log.recorded) == (3, 5)


def test_it_keeps_so_many_unless_told_otherwise() -> None:
    log = BlockLog()
    for _ in range(CAPACITY + 1):
        add(log)
    assert len(log) == CAPACITY


def test_the_last_entries_come_oldest_first() -> None:
    log = BlockLog()
    for _ in range(5):
        add(log)
    assert [entry.seq for entry in log.last(everything, 2)] == [4, 5]


def test_entries_after_a_number_come_from_the_first_on() -> None:
    log = BlockLog(capacity=4)
    for _ in range(6):
        add(log)
    assert [entry.seq for entry in log.since(4, everything, 10)] == [5, 6]
    assert [entry.seq for entry in log.since(0, everything, 2)] == [3, 4]
    assert log.since(6, everything, 10) == []
    assert BlockLog().since(0, everything, 10) == []


def test_what_is_not_kept_is_told_by_the_next_entry() -> None:
    log = BlockLog()
    log.skip(3)
    log.skip(4)
    assert [add(log).suppressed, add(log).suppressed] == [7, 0]
    assert log.suppressed == 7


@pytest.mark.parametrize(
    "words",
    [
        "", "tcp", "TCP", "proto:6", "ipv4", "203.0.113.7", "192.168.1.0/24", "192.168.1.9/24", ":443", ":40000",
        "forward", "block", "wan", "lan", "on:lan", "default", "rule:default", "tcp wan :443 203.0.113.7",
    ],
)  # fmt: skip
def test_an_entry_that_matches_all_words_is_found(words: str) -> None:
    entry = add(BlockLog())
    assert parse_filter(words.split(), interfaces={"wan", "lan"}, rules={"default"})(entry)


@pytest.mark.parametrize(
    "words",
    [
        "udp", "proto:17", "ipv6", "203.0.113.8", "10.0.0.0/8", "2001:db8::/32", ":80", "in", "out", "reject", "pass",
        "dmz", "on:dmz", "web", "rule:web", "tcp :80", "icmp",
    ],
)  # fmt: skip
def test_an_entry_that_misses_one_word_is_not_found(words: str) -> None:
    entry = add(BlockLog())
    assert not parse_filter(words.split(), interfaces={"wan", "dmz"}, rules={"default", "web"})(entry)


@pytest.mark.parametrize("word", ["icmp6", "icmpv6", "proto:58", "ipv6", "2001:db8::/32", "2001:db8::1"])
def test_ipv6_is_found_like_ipv4(word: str) -> None:
    assert parse_filter([word], interfaces=(), rules=())(add(BlockLog(), PING6))


def test_a_packet_without_addresses_is_in_no_network() -> None:
    assert not parse_filter(["0.0.0.0/0"], interfaces=(), rules=())(add(BlockLog(), MALFORMED))


def test_vrrp_is_carp_and_numbers_without_a_name_work() -> None:
    carp = Packet(version=4, protocol="carp", source=TCP.source, destination=TCP.destination)
    strange = Packet(version=4, protocol="253", source=TCP.source, destination=TCP.destination)
    assert parse_filter(["vrrp"], interfaces=(), rules=())(add(BlockLog(), carp))
    assert parse_filter(["proto:112"], interfaces=(), rules=())(add(BlockLog(), carp))
    assert parse_filter(["proto:253"], interfaces=(), rules=())(add(BlockLog(), strange))


@pytest.mark.parametrize("word", ["proto:256", "proto:", "proto:-1", ":65536", ":", ":http", ":\N{SUPERSCRIPT TWO}"])
def test_a_number_out_of_range_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="is no filter for the log") as refused:
        parse_filter([word], interfaces=(), rules=())
    assert "A number 0.." in refused.value.hint


def test_a_word_that_means_nothing_is_refused_with_what_may_have_been_meant() -> None:
    with pytest.raises(UsageError, match="'wam' is no filter for the log") as refused:
        parse_filter(["wam"], interfaces=["wan"], rules=())
    assert refused.value.hint.startswith("Did you mean wan? Use a protocol (tcp), an address")
    with pytest.raises(UsageError) as refused:
        parse_filter(["@"], interfaces=["wan"], rules=())
    assert refused.value.hint.startswith("Use a protocol")


def test_an_option_after_the_filter_is_told_where_it_belongs() -> None:
    with pytest.raises(UsageError) as refused:
        parse_filter(["tcp", "--follow"], interfaces=(), rules=())
    assert refused.value.hint == "Options go before the filter."


def test_a_filter_is_bounded() -> None:
    with pytest.raises(UsageError, match=f"a filter of {WORDS_MAX + 1} words is too long"):
        parse_filter(["tcp"] * (WORDS_MAX + 1), interfaces=(), rules=())


def test_an_entry_as_json() -> None:
    log = BlockLog()
    log.skip(2)
    assert row(add(log)) == {
        "seq": 1, "rule": "default", "action": "block", "direction": "forward", "interface": "wan",
        "out_interface": "lan", "family": 4, "proto": "tcp", "src": "203.0.113.7", "sport": 40000,
        "dst": "192.168.1.10", "dport": 443, "icmp": "", "flags": "S", "length": 60, "fragment": False,
        "malformed": False, "suppressed": 2,
    }  # fmt: skip


def test_what_is_unknown_is_null() -> None:
    found = row(add(BlockLog(), MALFORMED, out_interface=""))
    assert {key for key, value in found.items() if value is None} == {
        "family", "src", "sport", "dst", "dport", "out_interface",
    }  # fmt: skip
