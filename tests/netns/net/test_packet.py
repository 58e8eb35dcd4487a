"""Packet sockets on a real pair of devices."""

from __future__ import annotations

import errno
import select
import socket
import subprocess
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest

from appliance.net import fastpath as fast
from appliance.net import packet

pytestmark = pytest.mark.netns

Inside = Callable[[Callable[[], Any]], Any]
A, B = packet.mac_bytes("02:00:00:00:00:0a"), packet.mac_bytes("02:00:00:00:00:0b")
GROUP, GROUP6 = IPv4Address("224.0.0.18"), IPv6Address("ff02::12")


def look() -> None:
    probe = fast.CarrierProbe()
    for name in ("a0", "b0"):
        probe.carrier(name)
    probe.close()


@pytest.fixture
def netlink(inside: Inside) -> Iterator[fast.Netlink]:
    made = inside(fast.Netlink)
    made.request(fast.new_veth("a0", "b0", mac=packet.mac_text(A), peer_mac=packet.mac_text(B)))
    for name in ("a0", "b0"):
        index = next(link.index for link in made.dump_links() if link.name == name)
        made.request(fast.addrgenmode_none(index))
        made.request(fast.link_up(index))
    # Until the kernel has looked at the new carrier, up to a second, it silently drops what is sent.
    assert inside(lambda: (fast.carrier("a0"), fast.carrier("b0"))) == (True, True)
    yield made
    made.close()


def opened(inside: Inside, device: str, ethertype: int, program: Any, **options: Any) -> packet.PacketSocket:
    made: packet.PacketSocket = inside(lambda: packet.PacketSocket(device, ethertype, program, **options))
    return made


def received(sock: packet.PacketSocket, wait_s: float = 2) -> list[packet.Received]:
    select.select([sock], [], [], wait_s)
    return sock.drain()


def ipv4(protocol: int, payload: bytes = b"x" * 36) -> bytes:
    return packet.ipv4_frame(
        source_mac=A,
        destination_mac=packet.multicast_mac(GROUP),
        source=IPv4Address("10.0.0.1"),
        destination=GROUP,
        protocol=protocol,
        payload=payload,
    )


def ipv6(next_header: int) -> bytes:
    return packet.ipv6_frame(
        source_mac=A,
        destination_mac=packet.multicast_mac(GROUP6),
        source=IPv6Address("fe80::1"),
        destination=GROUP6,
        next_header=next_header,
        payload=b"x" * 36,
    )


def test_only_the_wanted_protocol_of_no_vlan_comes_through(inside: Inside, netlink: fast.Netlink) -> None:
    macs = (packet.multicast_mac(GROUP), packet.multicast_mac(GROUP6))
    with (
        opened(inside, "a0", packet.ETH_P_IP, packet.filter_nothing()) as sender,
        opened(inside, "b0", packet.ETH_P_IP, packet.filter_ipv4(112), multicast=macs) as four,
        opened(inside, "b0", packet.ETH_P_IPV6, packet.filter_ipv6(112), multicast=macs) as six,
    ):
        fragment = bytearray(ipv4(112))
        fragment[20:22] = b"\x20\x10"
        tagged = ipv4(112)[:12] + b"\x81\x00\x00\x14" + ipv4(112)[12:]
        for frame in (ipv4(17), bytes(fragment), tagged, ipv6(17), ipv4(112), ipv6(112)):
            assert sender.send(frame) == 0
        assert received(four) == [packet.Received(ipv4(112), packet.PACKET_MULTICAST, four.ifindex)]
        assert received(six) == [packet.Received(ipv6(112), packet.PACKET_MULTICAST, six.ifindex)]
        assert sender.drain() == []


def test_own_frames_are_not_received(inside: Inside, netlink: fast.Netlink) -> None:
    with opened(inside, "a0", packet.ETH_P_IP, packet.filter_ipv4(112)) as sock:
        sock.send(ipv4(112))
        assert sock.drain() == []


def test_arp_questions_are_answered_by_the_kernel(inside: Inside, netlink: fast.Netlink) -> None:
    b0 = next(link.index for link in netlink.dump_links() if link.name == "b0")
    netlink.request(fast.add_address(b0, ip_address("10.0.0.2"), 24))
    with opened(inside, "a0", packet.ETH_P_ARP, packet.filter_arp()) as sock:
        assert sock.send(packet.arp_probe(A, IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"))) == 0
        (got,) = received(sock)
        answer = packet.parse_arp(got.frame)
        assert answer is not None
        assert (answer.operation, answer.sender_mac, str(answer.sender_ip)) == (packet.ARP_REPLY, B, "10.0.0.2")


def test_claims_are_replies_announcements_and_what_is_asked_from_a_watched_address(
    inside: Inside, netlink: fast.Netlink
) -> None:
    mine, other, third = (IPv4Address(f"10.0.0.{last}") for last in (1, 2, 3))
    ordinary, from_mine = packet.arp_request(A, other, third), packet.arp_request(A, mine, third)
    announcement = packet.gratuitous_arp(A, other)
    reply = packet.arp_frame(packet.ArpPacket(A, packet.ARP_REPLY, A, other, B, third))
    with (
        opened(inside, "a0", packet.ETH_P_ARP, packet.filter_nothing()) as sender,
        opened(inside, "b0", packet.ETH_P_ARP, packet.filter_arp_claims()) as sock,
    ):
        for watched, wanted in (
            ((), [announcement, reply]),
            ((mine,), [from_mine, announcement, reply]),
            ([third] * 2000 + [mine], [announcement, reply]),
        ):
            sock.refilter(packet.filter_arp_claims(watched))
            for frame in (ordinary, from_mine, announcement, reply):
                assert sender.send(frame) == 0
            assert [each.frame for each in received(sock)] == wanted, len(watched)


def test_solicitations_are_answered_by_the_kernel(inside: Inside, netlink: fast.Netlink) -> None:
    b0 = next(link.index for link in netlink.dump_links() if link.name == "b0")
    netlink.request(fast.add_address(b0, ip_address("fd00::2"), 64))
    with opened(inside, "a0", packet.ETH_P_IPV6, packet.filter_neighbor_advertisement()) as sock:
        question = packet.neighbor_solicitation(A, IPv6Address("fd00::1"), IPv6Address("fd00::2"))
        # The kernel joins the group of a new address a little later, from a work queue.
        got = next(got for _ in range(50) if sock.send(question) == 0 for got in received(sock, 0.1))
        answer = packet.parse_na(got.frame)
        assert answer is not None
        assert (answer.target, answer.link_layer, answer.solicited) == (IPv6Address("fd00::2"), B, True)


def test_an_unsolicited_advertisement_moves_the_neighbour_entry(inside: Inside, netlink: fast.Netlink) -> None:
    netlink.request(fast.add_address(socket_index(netlink, "b0"), ip_address("fd00::2"), 64))
    netlink.request(fast.add_address(socket_index(netlink, "b0"), ip_address("10.0.0.2"), 24))
    for address in ("fd00::1", "10.0.0.1"):
        learn = ["ip", "neigh", "add", address, "lladdr", "02:00:00:00:00:99", "nud", "stale", "dev", "b0"]
        inside(lambda command=learn: subprocess.run(command, check=True, timeout=10))
    with opened(inside, "a0", packet.ETH_P_IPV6, packet.filter_nothing()) as sock:
        assert sock.send(packet.unsolicited_na(A, IPv6Address("fd00::1"), router=True)) == 0
        assert sock.send(packet.gratuitous_arp(A, IPv4Address("10.0.0.1"))) == 0

        def neighbours() -> str:
            return subprocess.run(["ip", "neigh"], capture_output=True, text=True, timeout=10, check=True).stdout

        table = inside(neighbours)
    assert "fd00::1 dev b0 lladdr 02:00:00:00:00:0a router" in table
    assert "10.0.0.1 dev b0 lladdr 02:00:00:00:00:0a" in table


def socket_index(netlink: fast.Netlink, name: str) -> int:
    return next(link.index for link in netlink.dump_links() if link.name == name)


def test_a_device_that_is_down_makes_sending_fail_and_reading_quiet(inside: Inside, netlink: fast.Netlink) -> None:
    with opened(inside, "a0", packet.ETH_P_IP, packet.filter_ipv4(112)) as sock:
        netlink.request(fast.link_down(socket_index(netlink, "a0")))
        assert sock.drain() == []
        assert sock.send(ipv4(112)) == errno.ENETDOWN
        netlink.request(fast.link_up(socket_index(netlink, "a0")))
        assert sock.send(ipv4(112)) == 0
        netlink.request(fast.delete_link(socket_index(netlink, "a0")))
        assert sock.drain() == []
        assert sock.send(ipv4(112)) in (errno.ENXIO, errno.ENODEV)


def test_a_missing_device_is_a_clear_error(inside: Inside) -> None:
    with pytest.raises(fast.SystemCallError, match="packet socket on nosuch0") as caught:
        opened(inside, "nosuch0", packet.ETH_P_IP, packet.filter_arp())
    assert caught.value.code == errno.ENODEV


def test_groups_are_joined_by_the_kernel_so_that_switches_learn(inside: Inside, netlink: fast.Netlink) -> None:
    index = socket_index(netlink, "a0")
    groups = [
        GROUP,
        GROUP6,
        packet.solicited_node(IPv6Address("fd00::1")),
        *(ip_address(0xEF000000 + i) for i in range(30)),
    ]
    membership = inside(lambda: packet.GroupMembership(index))

    def join() -> None:
        for group in (*groups, GROUP):
            membership.join(group)

    def joined() -> str:
        command = ["ip", "maddress", "show", "dev", "a0"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout

    with membership:
        inside(join)
        assert membership.groups == frozenset(groups)
        assert all(str(group) in inside(joined) for group in groups)
        membership.leave(GROUP)
        membership.leave(GROUP)
        assert str(GROUP) not in inside(joined)
    assert str(GROUP6) not in inside(joined)
    with pytest.raises(fast.SystemCallError, match=r"224\.0\.0\.18"):
        inside(lambda: packet.GroupMembership(9999).join(GROUP))


def test_an_open_raw_socket_stops_protocol_unreachable(inside: Inside, netlink: fast.Netlink) -> None:
    netlink.request(fast.add_address(socket_index(netlink, "b0"), ip_address("10.0.0.2"), 24))
    neighbour = ["ip", "neigh", "add", "10.0.0.1", "lladdr", packet.mac_text(A), "dev", "b0"]
    inside(lambda: subprocess.run(neighbour, check=True, timeout=10))
    unicast = packet.ipv4_frame(
        source_mac=A,
        destination_mac=B,
        source=IPv4Address("10.0.0.1"),
        destination=IPv4Address("10.0.0.2"),
        protocol=112,
        payload=b"x" * 36,
    )
    with opened(inside, "a0", packet.ETH_P_IP, packet.filter_ipv4(1)) as sock:
        with (
            inside(lambda: packet.raw_ip_socket(112)) as raw,
            inside(lambda: packet.raw_ip_socket(112, socket.AF_INET6)),
        ):
            assert sock.send(unicast) == 0
            assert sock.drain() == []
            with pytest.raises(BlockingIOError):
                raw.recv(100)
        assert sock.send(unicast) == 0
        (answer,) = received(sock)
        assert answer.frame[34:36] == b"\x03\x02"  # ICMP destination unreachable, protocol
