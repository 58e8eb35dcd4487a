"""Kea's sockets as the kernel shows them."""

from __future__ import annotations

from ipaddress import IPv4Address

from appliance_dhcp_failover import probe

UDP = """\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
13227: 0101A8C0:0043 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 155769 2 0000000015fd9b5c 0
 9999: 0201A8C0:0035 0101A8C0:0043 07 00000000:00000000 00:00000000 00000000     0        0 155770 2 0000000015fd9b5d 0
"""
PACKET = """\
sk               RefCnt Type Proto  Iface R Rmem   User   Inode
0000000065c191ce 3      3    0003   4     1 0      0      155770
0000000065c191cf 3      2    0003   5     1 0      0      155771
"""


def test_the_udp_socket_is_that_of_the_address_and_the_port() -> None:
    assert probe.has_udp(UDP, IPv4Address("192.168.1.1"))
    assert not probe.has_udp(UDP, IPv4Address("192.168.1.2")), "another port"
    assert not probe.has_udp("", IPv4Address("192.168.1.1"))


def test_the_packet_socket_is_a_raw_one_on_the_device() -> None:
    assert probe.has_packet(PACKET, 4)
    assert not probe.has_packet(PACKET, 5), "of another type"
    assert not probe.has_packet(PACKET, 6)


def test_what_is_missing_is_said() -> None:
    address = IPv4Address("127.0.0.9")
    assert probe.missing("no-such-device", address) == "the device no-such-device is missing"
    assert probe.missing("lo", address) == "Kea does not listen on 127.0.0.9"


def test_a_local_address_is_told_from_a_strangers() -> None:
    assert probe.is_local(IPv4Address("127.0.0.1"))
    assert not probe.is_local(IPv4Address("192.0.2.77"))
