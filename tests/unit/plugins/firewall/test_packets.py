"""Beginnings of packets, whole, cut off, wrong and made up."""

from __future__ import annotations

import random
import struct
from ipaddress import IPv4Address, IPv6Address

import pytest

from appliance_firewall.packets import EXTENSIONS_MAX, MALFORMED, Packet, parse

A, B = IPv4Address("203.0.113.7"), IPv4Address("198.51.100.9")
A6, B6 = IPv6Address("2001:db8::7"), IPv6Address("2001:db8:1::9")


def ipv4(protocol: int, rest: bytes, *, length: int | None = None, fragment: int = 0, options: bytes = b"") -> bytes:
    words = 5 + len(options) // 4
    total = words * 4 + len(rest) if length is None else length
    head = struct.pack(">BBHHHBBH", 0x40 | words, 0, total, 1, fragment, 64, protocol, 0)
    return head + A.packed + B.packed + options + rest


def ipv6(following: int, rest: bytes, *, length: int | None = None) -> bytes:
    head = struct.pack(">IHBB", 6 << 28, len(rest) if length is None else length, following, 64)
    return head + A6.packed + B6.packed + rest


def tcp(flags: int) -> bytes:
    return struct.pack(">HHIIBBHHH", 40000, 443, 1, 0, 0x50, flags, 512, 0, 0)


def udp() -> bytes:
    return struct.pack(">HHHH", 5353, 53, 8, 0)


def test_a_tcp_packet() -> None:
    assert parse(ipv4(6, tcp(0x02))) == Packet(
        version=4, protocol="tcp", source=A, destination=B, source_port=40000, destination_port=443, flags="S",
        length=40,
    )  # fmt: skip


def test_an_ipv6_udp_packet() -> None:
    assert parse(ipv6(17, udp())) == Packet(
        version=6, protocol="udp", source=A6, destination=B6, source_port=5353, destination_port=53, length=48
    )


@pytest.mark.parametrize(
    ("bits", "text"), [(0x12, "SA"), (0x04, "R"), (0x14, "RA"), (0x11, "FA"), (0x18, "PA"), (0xFF, "SRFPAUEC"), (0, "")]
)
def test_tcp_flags_are_letters(bits: int, text: str) -> None:
    assert parse(ipv4(6, tcp(bits))).flags == text


@pytest.mark.parametrize(
    ("protocol", "kind", "name"), [(1, 8, "echo-request"), (1, 3, "destination-unreachable"), (1, 200, "200")]
)
def test_icmp_has_a_type(protocol: int, kind: int, name: str) -> None:
    found = parse(ipv4(protocol, bytes((kind, 0, 0, 0))))
    assert (found.protocol, found.icmp, found.source_port) == ("icmp", name, None)


def test_icmp6_has_types_of_its_own() -> None:
    found = parse(ipv6(58, bytes((135, 0, 0, 0))))
    assert (found.protocol, found.icmp) == ("icmp6", "nd-neighbor-solicit")


@pytest.mark.parametrize(("number", "name"), [(112, "carp"), (240, "pfsync"), (132, "sctp"), (253, "253")])
def test_protocols_have_names_or_numbers(number: int, name: str) -> None:
    assert parse(ipv4(number, bytes(20))).protocol == name


def test_options_of_ipv4_are_skipped() -> None:
    assert parse(ipv4(17, udp(), options=bytes(8))).destination_port == 53


def test_a_later_fragment_has_no_ports() -> None:
    found = parse(ipv4(17, udp(), fragment=185))
    assert (found.fragment, found.malformed, found.source_port) == (True, False, None)


def test_the_first_fragment_has_ports() -> None:
    found = parse(ipv4(17, udp(), fragment=0x2000))
    assert (found.fragment, found.destination_port) == (False, 53)


def test_extension_headers_of_ipv6_are_walked() -> None:
    hop_by_hop = bytes((60, 0)) + bytes(6)
    options = bytes((51, 1)) + bytes(14)
    authentication = bytes((6, 4)) + bytes(22)
    found = parse(ipv6(0, hop_by_hop + options + authentication + tcp(0x02)))
    assert (found.protocol, found.destination_port, found.malformed) == ("tcp", 443, False)


def test_a_later_fragment_of_ipv6_names_its_protocol_and_has_no_ports() -> None:
    found = parse(ipv6(44, bytes((17, 0, 1, 0, 0, 0, 0, 1)) + udp()))
    assert (found.protocol, found.fragment, found.destination_port, found.malformed) == ("udp", True, None, False)


def test_the_first_fragment_of_ipv6_has_ports() -> None:
    found = parse(ipv6(44, bytes((17, 0, 0, 1, 0, 0, 0, 1)) + udp()))
    assert (found.fragment, found.destination_port) == (False, 53)


def test_extension_headers_without_end_are_malformed() -> None:
    found = parse(ipv6(60, (bytes((60, 0)) + bytes(6)) * (EXTENSIONS_MAX + 2)))
    assert (found.malformed, found.source, found.destination_port) == (True, A6, None)


def test_what_was_cut_off_is_unknown_and_not_wrong() -> None:
    whole = ipv4(6, tcp(0x02), length=1500)
    assert parse(whole[:22]) == Packet(version=4, protocol="tcp", source=A, destination=B, length=1500)
    found = parse(whole[:28])
    assert (found.source_port, found.flags, found.length, found.malformed) == (40000, "", 1500, False)
    assert not parse(ipv6(60, bytes((60, 200)) + bytes(60), length=1400)).malformed
    assert not parse(ipv4(1, b"", length=84)).malformed


@pytest.mark.parametrize(
    "data",
    [
        ipv4(6, tcp(0)[:8]),
        ipv4(17, b"\0"),
        ipv4(1, b""),
        ipv4(6, tcp(0), length=12),
        b"\x41" + ipv4(6, tcp(0))[1:],
        ipv6(17, b"\0\0"),
    ],
    ids=["tcp", "udp", "icmp", "total length", "header length", "udp of ipv6"],
)
def test_what_contradicts_itself_is_malformed_and_still_has_its_addresses(data: bytes) -> None:
    found = parse(data)
    assert found.malformed
    assert found.source in (A, A6)


@pytest.mark.parametrize("data", [b"", b"\x45", b"\x60" + bytes(30), bytes(64), b"\x55" * 64])
def test_what_is_no_ip_packet_is_malformed(data: bytes) -> None:
    assert parse(data) == MALFORMED


def test_padding_after_the_packet_is_not_taken_for_contents() -> None:
    found = parse(ipv4(17, b"", length=20) + udp())
    assert (found.destination_port, found.malformed) == (None, True)


def test_whatever_the_bytes_are_there_is_an_answer() -> None:
    chance = random.Random(4)
    starts = (b"\x45\x00", b"\x4f\x00", b"\x60\x00", b"")
    for _ in range(5000):
        data = chance.choice(starts) + chance.randbytes(chance.randrange(129))
        found = parse(data)
        assert found.version in (0, 4, 6)
        assert (found.version == 0) == (found.source is None)
