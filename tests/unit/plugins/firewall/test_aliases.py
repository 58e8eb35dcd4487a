"""Aliases: entries in, collapsed ranges out, and a message of its own for everything that is wrong."""

from __future__ import annotations

import time
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance_firewall import aliases
from appliance_firewall.aliases import (
    Entries,
    EntryError,
    Kind,
    Resolved,
    Wrong,
    address_range,
    as_alias,
    collapse,
    parse_address,
    parse_port,
    range_text,
    resolve_aliases,
    usual_address,
)

Declared = dict[str, tuple[Kind, Sequence[int | str]]]


def number(text: str) -> int:
    return int(ip_address(text))


def texts(resolved: Resolved) -> list[str]:
    return [range_text(version, each) for version in (4, 6) for each in resolved.of(version)] + [
        range_text(0, each) for each in resolved.ports
    ]


def resolve(declared: Declared) -> tuple[dict[str, Resolved], tuple[Wrong, ...]]:
    return resolve_aliases({name: Entries(kind, entries) for name, (kind, entries) in declared.items()})


def resolved(declared: Declared) -> dict[str, list[str]]:
    found, wrong = resolve(declared)
    assert wrong == ()
    return {name: texts(each) for name, each in found.items()}


def only_wrong(declared: Declared) -> Wrong:
    _, wrong = resolve(declared)
    assert len(wrong) == 1, wrong
    return wrong[0]


def test_addresses_ranges_and_networks_are_collapsed() -> None:
    entries = [
        "192.168.2.11",
        "192.168.2.10",
        "192.168.2.12-192.168.2.15",
        "10.0.0.0/9",
        "10.128.0.0/9",
        "2001:db8::/64",
    ]
    assert resolved({"a": ("networks", entries)}) == {"a": ["10.0.0.0/8", "192.168.2.10-192.168.2.15", "2001:db8::/64"]}


def test_ports_and_ranges_of_ports_are_collapsed() -> None:
    assert resolved({"p": ("ports", [25, "1000-2000", "443", "1500-3000"])}) == {"p": ["25", "443", "1000-3000"]}


def test_an_alias_contains_those_that_it_names_wherever_they_are_declared() -> None:
    declared: Declared = {
        "all": ("networks", ["web", "10.0.0.0/8"]),
        "web": ("hosts", ["192.168.2.10", "front"]),
        "front": ("hosts", ["192.168.2.11"]),
    }
    assert resolved(declared)["all"] == ["10.0.0.0/8", "192.168.2.10/31"]


def test_one_alias_may_be_reached_by_two_ways() -> None:
    declared: Declared = {
        "a": ("hosts", ["b", "c"]),
        "b": ("hosts", ["d"]),
        "c": ("hosts", ["d"]),
        "d": ("hosts", ["10.0.0.1"]),
    }
    assert resolved(declared)["a"] == ["10.0.0.1"]


def test_an_empty_alias_is_one() -> None:
    found, wrong = resolve({"nobody": ("hosts", [])})
    assert wrong == ()
    assert found["nobody"].is_empty


@pytest.mark.parametrize(
    ("declared", "name", "place", "said"),
    [
        ({"a": ("hosts", ["b"]), "b": ("hosts", ["c"]), "c": ("hosts", ["a"])}, "c", 0, "circle: a -> b -> c -> a"),
        ({"a": ("hosts", ["10.0.0.1", "a"])}, "a", 1, "circle: a -> a"),
        ({"a": ("hosts", ["nobody"])}, "a", 0, "there is no alias 'nobody'"),
        ({"a": ("hosts", ["10.0.0.9-10.0.0.1"])}, "a", 0, "reversed: write 10.0.0.1-10.0.0.9"),
        ({"a": ("hosts", ["10.0.0.1-2001:db8::1"])}, "a", 0, "begins with IPv4 and ends with IPv6"),
        ({"a": ("hosts", ["10.0.0.0/8"])}, "a", 0, 'needs type = "networks"'),
        ({"a": ("networks", ["10.0.0.1/8"])}, "a", 0, "its network is 10.0.0.0/8"),
        ({"a": ("hosts", ["Mail Server"])}, "a", 0, "neither an address, a range"),
        ({"a": ("hosts", ["fe80::1%eth0"])}, "a", 0, "has no zone"),
        ({"a": ("hosts", [25])}, "a", 0, "neither an address"),
        ({"a": ("ports", ["2000-1000"])}, "a", 0, "reversed: write 1000-2000"),
        ({"a": ("ports", [0])}, "a", 0, "ports are 1 to 65535"),
        ({"a": ("ports", ["1-70000"])}, "a", 0, "ports are 1 to 65535"),
        ({"a": ("ports", ["-5"])}, "a", 0, "neither a port"),
        ({"a": ("ports", ["10.0.0.1"])}, "a", 0, "neither a port"),
        ({"a": ("hosts", ["p"]), "p": ("ports", [1])}, "a", 0, "p is an alias of ports"),
        ({"p": ("ports", ["a"]), "a": ("hosts", [])}, "p", 0, "a is an alias of hosts"),
        ({"a": ("hosts", ["n"]), "n": ("networks", [])}, "a", 0, 'this one needs type = "networks" too'),
    ],
)
def test_what_is_wrong_is_said_at_its_entry(declared: Declared, name: str, place: int, said: str) -> None:
    wrong = only_wrong(declared)
    assert (wrong.name, wrong.place) == (name, place)
    assert said in wrong.message


def test_who_names_a_wrong_alias_is_left_out_without_another_message() -> None:
    declared: Declared = {"good": ("hosts", ["10.0.0.1"]), "user": ("hosts", ["bad"]), "bad": ("hosts", ["x y"])}
    found, wrong = resolve(declared)
    assert set(found) == {"good"}
    assert [each.name for each in wrong] == ["bad"]


def test_nesting_has_a_limit() -> None:
    declared: Declared = {f"a{level}": ("hosts", [f"a{level + 1}"]) for level in range(40)}
    declared["a40"] = ("hosts", ["10.0.0.1"])
    assert "nested deeper than 32" in only_wrong(declared).message


def test_all_aliases_together_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aliases, "RANGES_MAX", 3)
    wrong = only_wrong({"a": ("ports", [1, 3]), "b": ("ports", ["a"])})
    assert (wrong.name, wrong.place) == ("b", None)
    assert "more than 3 entries" in wrong.message


@pytest.mark.parametrize("text", ["10.0.0.1", "10.0.0.0/8", "2001:db8::1", "2001:db8::/32", "10.0.0.1-10.0.0.3"])
def test_what_is_parsed_is_written_the_same(text: str) -> None:
    assert range_text(*parse_address(text)) == text


def test_a_range_that_is_a_network_is_written_as_one() -> None:
    assert range_text(*parse_address("10.0.0.0-10.0.0.255")) == "10.0.0.0/24"
    assert range_text(*parse_address("10.0.0.1/32")) == "10.0.0.1"
    assert range_text(*parse_address("0.0.0.0/0")) == "0.0.0.0/0"


def by_ipaddress(text: str) -> tuple[int, int] | None:
    try:
        network = ip_network(text) if text.isascii() else None
    except ValueError:
        return None
    return (int(network[0]), int(network[-1])) if network is not None else None


_OCTETS = st.one_of(st.integers(0, 260).map(str), st.sampled_from(["00", "01", "0", "255", "256", "", "1e1", "-1"]))


@given(
    st.lists(_OCTETS, min_size=3, max_size=5).map(".".join),
    st.sampled_from(["", "/", "/0", "/8", "/08", "/24", "/31", "/32", "/33", "/x", "\n", " "]),
)
@example("10.0.0.0", "/8")
@example("10.0.0.1", "/8")
@example("255.255.255.255", "/32")
@example("0.0.0.0", "/0")
def test_what_is_read_quickly_is_read_as_python_does(address: str, prefix: str) -> None:
    expected = by_ipaddress(address + prefix)
    assert usual_address(address + prefix) in (None, expected)
    if expected is None:
        with pytest.raises(EntryError):
            parse_address(address + prefix)
    else:
        assert parse_address(address + prefix) == (4, expected)


@given(st.integers(0, (1 << 32) - 1))
def test_addresses_are_written_as_python_does(number: int) -> None:
    assert range_text(4, (number, number)) == str(IPv4Address(number))


def test_a_number_without_end_is_no_port() -> None:
    with pytest.raises(EntryError, match="is neither a port"):
        parse_port("9" * 5000)


def test_a_port_may_be_a_number_or_text() -> None:
    assert (parse_port(25), parse_port("25"), parse_port("20 - 21")) == ((25, 25), (25, 25), (20, 21))
    with pytest.raises(EntryError):
        parse_port("\u0661")  # a digit, but of another script


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)).map(lambda each: (each[0], sum(each)))))
def test_collapsed_ranges_hold_the_same_and_do_not_touch(ranges: list[tuple[int, int]]) -> None:
    found = collapse(ranges)
    assert {n for first, last in found for n in range(first, last + 1)} == {
        n for first, last in ranges for n in range(first, last + 1)
    }
    assert all(left[1] + 1 < right[0] for left, right in pairwise(found))


def test_other_plugins_get_networks_and_ranges() -> None:
    numbers = (number("10.0.0.1"), number("10.0.0.3"))
    alias = as_alias("a", Resolved("hosts", v4=(numbers,), v6=((0, 15),)))
    assert alias.addresses == ((IPv4Address("10.0.0.1"), IPv4Address("10.0.0.3")), IPv6Network("::/124"))
    assert (alias.kind, alias.set_name(4)) == ("address", "alias_a_v4")
    assert as_alias("p", Resolved("ports", ports=((1, 2),))).ports == ((1, 2),)
    assert address_range(4, (number("10.0.0.0"), number("10.0.0.255"))) == IPv4Network("10.0.0.0/24")
    assert address_range(6, (1, 3)) == (ip_address("::1"), ip_address("::3"))


def test_fifty_thousand_entries_take_a_fraction_of_a_second() -> None:
    entries = [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(0, 100_000, 2)]
    begin = time.process_time()
    found, _ = resolve({"many": ("hosts", entries)})
    assert time.process_time() - begin < 2
    assert len(found["many"].v4) == 50_000


def test_what_other_plugins_get_is_made_once_for_each_alias_that_names_no_other() -> None:
    declared = {"web": Entries("hosts", ["10.0.0.1"]), "all": Entries("networks", ["web", "10.1.0.0/16"])}
    found, wrong = resolve_aliases(declared)
    assert not wrong
    for name, each in declared.items():
        assert each.public(name, found[name]) == as_alias(name, found[name])
    assert declared["web"].public("web", found["web"]).addresses is declared["web"].public("x", found["web"]).addresses
    assert found["web"] is declared["web"].read.own
