"""Entries and what they say about translation."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from socket import AF_INET, AF_INET6

import pytest
from hypothesis import given

from appliance.net.conntrack.entry import ICMP, ICMPV6, TCP, Entry, Tuple
from tests.unit.core.net.conntrack.entries import tuples

CLIENT, SERVER, OUTSIDE = ip_address("10.0.0.1"), ip_address("192.0.2.9"), ip_address("198.51.100.1")
CONNECTION = Tuple(CLIENT, SERVER, TCP, 40000, 80)
PING = Tuple(CLIENT, SERVER, ICMP, icmp_id=77, icmp_type=8)


@given(tuples())
def test_the_inverse_of_the_inverse_is_the_tuple(any_tuple: Tuple) -> None:
    assert any_tuple.inverse.inverse == any_tuple


def test_answers_go_back_where_the_packets_came_from() -> None:
    assert CONNECTION.inverse == Tuple(SERVER, CLIENT, TCP, 80, 40000)


@pytest.mark.parametrize(("proto", "asked", "answered"), [(ICMP, 8, 0), (ICMP, 13, 14), (ICMPV6, 128, 129)])
def test_an_echo_request_is_answered_by_an_echo_reply(proto: int, asked: int, answered: int) -> None:
    ping = Tuple(CLIENT, SERVER, proto, icmp_id=5, icmp_type=asked)
    assert ping.inverse == Tuple(SERVER, CLIENT, proto, icmp_id=5, icmp_type=answered)


def test_an_entry_whose_answers_are_the_plain_inverse_is_not_translated() -> None:
    entry = Entry(orig=CONNECTION, reply=CONNECTION.inverse)
    assert (entry.source_nat, entry.destination_nat) == (None, None)


def test_a_source_that_is_answered_elsewhere_is_translated() -> None:
    entry = Entry(orig=CONNECTION, reply=Tuple(SERVER, OUTSIDE, TCP, 80, 1024))
    assert (entry.source_nat, entry.destination_nat) == ((OUTSIDE, 1024), None)


def test_a_destination_that_answers_from_elsewhere_is_translated() -> None:
    entry = Entry(orig=CONNECTION, reply=Tuple(OUTSIDE, CLIENT, TCP, 8080, 40000))
    assert (entry.source_nat, entry.destination_nat) == (None, (OUTSIDE, 8080))


def test_a_port_alone_can_be_translated() -> None:
    entry = Entry(orig=CONNECTION, reply=replace(CONNECTION.inverse, dport=1024))
    assert entry.source_nat == (CLIENT, 1024)


def test_the_identifier_of_an_echo_is_its_port() -> None:
    entry = Entry(orig=PING, reply=replace(PING.inverse, dst=OUTSIDE, icmp_id=9))
    assert (entry.source_nat, entry.destination_nat) == ((OUTSIDE, 9), None)


def test_the_family_is_that_of_the_addresses() -> None:
    six = Tuple(ip_address("fd00::1"), ip_address("fd00::2"), TCP)
    assert Entry(orig=CONNECTION, reply=CONNECTION.inverse).family == AF_INET
    assert Entry(orig=six, reply=six.inverse).family == AF_INET6
