"""Frames against golden bytes from BSD and ucarp, and against scapy as an independent encoder."""

from __future__ import annotations

import json
import subprocess
import sys
from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from appliance.net import packet
from appliance.net.frames import (
    ARP_REQUEST,
    ArpPacket,
    arp_frame,
    arp_request,
    gratuitous_arp,
    icmpv6_checksum,
    internet_checksum,
    ipv4_frame,
    ipv6_frame,
    mac_bytes,
    mac_text,
    multicast_mac,
    neighbor_solicitation,
    parse_arp,
    parse_na,
    solicited_node,
    unsolicited_na,
)

VMAC = mac_bytes("00:00:5e:00:01:01")
CARP_GROUP = IPv4Address("224.0.0.18")
CARP_GROUP6 = IPv6Address("ff02::12")

# FreeBSD's form of an advert, see tests/vectors: TOS 0xe0, id 0, DF, TTL 255.
IPV4_FRAME = bytes.fromhex(
    "01005e00001200005e000101080045e0003800004000ff70d860c0000202e0000012"
    "2101640700014eee0123456789abcdefe5af8f9152ad0b787d2dfb30fdc4f0fcd95d79fd"
)
IPV6_FRAME = bytes.fromhex(
    "33330000001200005e00010186dd6e000000002470fffe80000000000000000000fffe00000bff020000000000000000000000000012"
    "2101640700010d770123456789abcdefb335c1d7f0646c1503cc05f9d461e7a11c5e1bab"
)
UCARP_GARP = bytes.fromhex("ffffffffffff02000000000a0806000108000604000102000000000ac00002fc02000000000ac00002fc")


def slow_checksum(data: bytes) -> int:
    """RFC 1071 §1, as written there."""
    if len(data) % 2:
        data += b"\0"
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def test_an_ipv4_frame_is_byte_exact() -> None:
    frame = ipv4_frame(
        source_mac=VMAC,
        destination_mac=multicast_mac(CARP_GROUP),
        source=IPv4Address("192.0.2.2"),
        destination=CARP_GROUP,
        protocol=112,
        payload=IPV4_FRAME[34:],
        tos=0xE0,
    )
    assert frame == IPV4_FRAME


def test_an_ipv6_frame_is_byte_exact() -> None:
    frame = ipv6_frame(
        source_mac=VMAC,
        destination_mac=multicast_mac(CARP_GROUP6),
        source=IPv6Address("fe80::ff:fe00:b"),
        destination=CARP_GROUP6,
        next_header=112,
        payload=IPV6_FRAME[54:],
        traffic_class=0xE0,
    )
    assert frame == IPV6_FRAME


@given(st.binary(max_size=80))
def test_the_checksum_is_the_one_of_rfc_1071(data: bytes) -> None:
    assert internet_checksum(data) == slow_checksum(data)


def test_the_checksum_knows_both_zeros() -> None:
    assert internet_checksum(b"") == 0xFFFF
    assert internet_checksum(b"\0\0") == 0xFFFF
    assert internet_checksum(b"\xff\xff") == 0
    assert internet_checksum(b"\xff\xff\xff\xff") == 0


def test_a_packet_with_its_checksum_sums_to_zero() -> None:
    assert internet_checksum(IPV4_FRAME[14:34]) == 0


def test_a_gratuitous_arp_is_a_broadcast_request_for_itself() -> None:
    mac = mac_bytes("02:00:00:00:00:0a")
    ours = gratuitous_arp(mac, IPv4Address("192.0.2.252"))
    # ucarp also fills the target's MAC, which no receiver of a request reads.
    assert ours == UCARP_GARP[:32] + b"\0" * 6 + UCARP_GARP[38:]


@given(st.binary(min_size=6, max_size=6), st.ip_addresses(v=4), st.binary(min_size=6, max_size=6), st.ip_addresses(v=4))
def test_arp_packets_survive_the_round_trip(mac: bytes, ip: IPv4Address, target: bytes, target_ip: IPv4Address) -> None:
    sent = ArpPacket(mac, ARP_REQUEST, mac, ip, target, target_ip)
    assert parse_arp(arp_frame(sent)) == sent


@given(st.binary(max_size=90))
def test_no_bytes_upset_the_parsers(data: bytes) -> None:
    assert parse_arp(data) is None or data[12:14] == b"\x08\x06"
    assert parse_na(data) is None
    head = arp_request(VMAC, IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2"))[:14]
    parse_arp(head + data)
    parse_na(unsolicited_na(VMAC, IPv6Address("fd00::1"), router=True)[:54] + data)


def test_an_unsolicited_advertisement_is_read_back() -> None:
    address = IPv6Address("fd00:1::1")
    read = parse_na(unsolicited_na(VMAC, address, router=True))
    assert read is not None
    assert (read.source_mac, read.source, read.target, read.link_layer) == (VMAC, address, address, VMAC)
    assert (read.router, read.solicited, read.override) == (True, False, True)
    read = parse_na(unsolicited_na(VMAC, address, router=False))
    assert read is not None
    assert not read.router


def test_an_advertisement_with_a_wrong_checksum_or_hop_limit_is_ignored() -> None:
    frame = bytearray(unsolicited_na(VMAC, IPv6Address("fd00:1::1"), router=True))
    frame[-1] ^= 1
    assert parse_na(bytes(frame)) is None
    frame[-1] ^= 1
    assert parse_na(bytes(frame)) is not None
    frame[21] = 254
    assert parse_na(bytes(frame)) is None


def test_multicast_addresses_have_their_ethernet_groups() -> None:
    assert mac_text(multicast_mac(CARP_GROUP)) == "01:00:5e:00:00:12"
    assert mac_text(multicast_mac(IPv4Address("239.129.1.2"))) == "01:00:5e:01:01:02"
    assert mac_text(multicast_mac(CARP_GROUP6)) == "33:33:00:00:00:12"
    assert solicited_node(IPv6Address("2001:db8::1:800:200e:8c6c")) == IPv6Address("ff02::1:ff0e:8c6c")


SCAPY = """
import json, sys
from scapy.layers.l2 import Ether, ARP
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr
mac = "00:00:5e:00:01:01"
na = (Ether(dst="33:33:00:00:00:01", src=mac) / IPv6(src="fd00:1::1", dst="ff02::1", hlim=255)
      / ICMPv6ND_NA(R=1, S=0, O=1, tgt="fd00:1::1") / ICMPv6NDOptDstLLAddr(lladdr=mac))
ns = (Ether(dst="33:33:ff:00:00:02", src=mac) / IPv6(src="fd00:1::1", dst="ff02::1:ff00:2", hlim=255)
      / ICMPv6ND_NS(tgt="fd00:1::2") / ICMPv6NDOptSrcLLAddr(lladdr=mac))
arp = Ether(dst="02:00:00:00:00:02", src=mac) / ARP(
    op=1, hwsrc=mac, psrc="10.1.0.1", hwdst="00:00:00:00:00:00", pdst="10.1.0.2")
ip = Ether(dst="01:00:5e:00:00:12", src=mac) / IP(
    src="10.1.0.1", dst="224.0.0.18", ttl=255, proto=112, flags="DF", id=7, tos=0x10) / b"odd"
print(json.dumps([bytes(p).hex() for p in (na, ns, arp, ip)]))
"""


def test_scapy_builds_the_same_frames() -> None:
    # In a process of its own: scapy takes half a second to import and rebinds things globally.
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCAPY], capture_output=True, text=True, timeout=60, check=True
    )
    na, ns, arp, ip = (bytes.fromhex(text) for text in json.loads(done.stdout))
    one, two = IPv6Address("fd00:1::1"), IPv6Address("fd00:1::2")
    assert unsolicited_na(VMAC, one, router=True) == na
    assert neighbor_solicitation(VMAC, one, two) == ns
    to = mac_bytes("02:00:00:00:00:02")
    assert arp_request(VMAC, IPv4Address("10.1.0.1"), IPv4Address("10.1.0.2"), destination_mac=to) == arp
    frame = ipv4_frame(
        source_mac=VMAC,
        destination_mac=multicast_mac(CARP_GROUP),
        source=IPv4Address("10.1.0.1"),
        destination=CARP_GROUP,
        protocol=112,
        payload=b"odd",
        tos=0x10,
        identification=7,
    )
    assert frame == ip


def test_a_solicitation_to_a_known_owner_is_unicast() -> None:
    one, two = IPv6Address("fd00:1::1"), IPv6Address("fd00:1::2")
    to = mac_bytes("02:00:00:00:00:02")
    frame = neighbor_solicitation(VMAC, one, two, destination_mac=to)
    assert frame[:6] == to
    assert IPv6Address(frame[38:54]) == two
    assert icmpv6_checksum(one, two, frame[54:]) == 0


def test_the_packet_module_offers_the_frames() -> None:
    assert packet.gratuitous_arp is gratuitous_arp
