"""Packet sockets that see and send whole Ethernet frames, and the group memberships that go with them.

A frame with the tag of a VLAN for which no device exists is handed to sockets of the parent, too, with
its tag removed and no record of it (`__netif_receive_skb_core`). Only its packet type tells: "for another
host" although it was sent to a group. The filters drop such frames, so that an advert of another VLAN is
never taken for one of ours. Other frames for other hosts are let through: adverts with a wrong
destination MAC occur in the wild. Nothing here depends on netfilter, on rp_filter or
on the device having an address.
"""

from __future__ import annotations

import array
import errno
import socket
import struct
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple, Self

from appliance.net.fastpath import enlarge_receive_buffer, system_error
from appliance.net.frames import ARP_REPLY as ARP_REPLY
from appliance.net.frames import ARP_REQUEST as ARP_REQUEST
from appliance.net.frames import BROADCAST_MAC as BROADCAST_MAC
from appliance.net.frames import ETH_P_ARP as ETH_P_ARP
from appliance.net.frames import ETH_P_IP as ETH_P_IP
from appliance.net.frames import ETH_P_IPV6 as ETH_P_IPV6
from appliance.net.frames import ArpPacket as ArpPacket
from appliance.net.frames import NeighborAdvertisement as NeighborAdvertisement
from appliance.net.frames import arp_frame as arp_frame
from appliance.net.frames import arp_probe as arp_probe
from appliance.net.frames import arp_request as arp_request
from appliance.net.frames import ethernet_frame as ethernet_frame
from appliance.net.frames import gratuitous_arp as gratuitous_arp
from appliance.net.frames import icmpv6_checksum as icmpv6_checksum
from appliance.net.frames import internet_checksum as internet_checksum
from appliance.net.frames import ipv4_frame as ipv4_frame
from appliance.net.frames import ipv6_frame as ipv6_frame
from appliance.net.frames import mac_bytes as mac_bytes
from appliance.net.frames import mac_text as mac_text
from appliance.net.frames import multicast_mac as multicast_mac
from appliance.net.frames import neighbor_solicitation as neighbor_solicitation
from appliance.net.frames import parse_arp as parse_arp
from appliance.net.frames import parse_na as parse_na
from appliance.net.frames import solicited_node as solicited_node
from appliance.net.frames import unsolicited_na as unsolicited_na

PACKET_HOST, PACKET_BROADCAST, PACKET_MULTICAST, PACKET_OTHERHOST, PACKET_OUTGOING = range(5)
WATCHED_MAX = 1024
"""Addresses in one ARP filter: two instructions each, and the kernel takes 4096 (BPF_MAXINSNS)."""
DRAIN_MAX = 512
"""Frames read at once: a burst of 255 adverts and then some, but not for ever."""

_FRAME_MAX = 2048
_RECEIVE_BYTES = 1 << 20
"""Room for a burst of adverts of all VHIDs while the process is not scheduled."""
_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, _PACKET_MR_MULTICAST, _PACKET_IGNORE_OUTGOING = 263, 1, 0, 23
_SO_ATTACH_FILTER = 26
_PRIORITY_CONTROL = 7  # TC_PRIO_CONTROL: before everything else in the device's queue

Instruction = tuple[int, int, int, int]
"""Classic BPF: code, jump if true, jump if false, operand."""
_LOAD_BYTE, _LOAD_HALF, _LOAD_WORD, _JUMP_EQUAL, _JUMP_SET, _RETURN = 0x30, 0x28, 0x20, 0x15, 0x45, 0x06
_JUMP_EQUAL_X, _COPY_TO_X = 0x1D, 0x07
_ANCILLARY = 0xFFFFF000
_PACKET_TYPE = _ANCILLARY + 4
_ACCEPT: Instruction = (_RETURN, 0, 0, 0x40000)
_DROP: Instruction = (_RETURN, 0, 0, 0)


class Received(NamedTuple):
    """One frame as it came in."""

    frame: bytes
    packet_type: int
    """PACKET_HOST, PACKET_BROADCAST, PACKET_MULTICAST or PACKET_OTHERHOST."""
    ifindex: int


def _program(*tests: Instruction) -> tuple[Instruction, ...]:
    """Frames not sent by us and not of another VLAN for which all tests hold.

    A test jumps over the drop that follows it.
    """
    head: tuple[Instruction, ...] = (
        (_LOAD_BYTE, 0, 0, _PACKET_TYPE), (_JUMP_EQUAL, 0, 1, PACKET_OUTGOING), _DROP,
        (_JUMP_EQUAL, 0, 3, PACKET_OTHERHOST), (_LOAD_BYTE, 0, 0, 0), (_JUMP_SET, 0, 1, 1), _DROP,
    )  # fmt: skip
    return (*head, *tests, _ACCEPT)


def filter_ipv4(protocol: int) -> tuple[Instruction, ...]:
    """IPv4 packets of one protocol, to whatever address; no later fragments."""
    return _program(
        (_LOAD_BYTE, 0, 0, 23), (_JUMP_EQUAL, 1, 0, protocol), _DROP,
        (_LOAD_HALF, 0, 0, 20), (_JUMP_SET, 0, 1, 0x1FFF), _DROP,
    )  # fmt: skip


def filter_ipv6(next_header: int) -> tuple[Instruction, ...]:
    """IPv6 packets whose first header is this one."""
    return _program((_LOAD_BYTE, 0, 0, 20), (_JUMP_EQUAL, 1, 0, next_header), _DROP)


def filter_arp() -> tuple[Instruction, ...]:
    """ARP for IPv4 over Ethernet."""
    return _program((_LOAD_WORD, 0, 0, 14), (_JUMP_EQUAL, 1, 0, 0x00010800), _DROP)


def filter_arp_claims(watched: Sequence[IPv4Address] = ()) -> tuple[Instruction, ...]:
    """ARP that says who has an address: replies, and announcements (sender and target address equal).

    Ordinary requests, which are most of the ARP of a busy network, do not wake the reader, except those sent from
    a watched address: a host that never announces itself still claims its address with each question it asks.
    At most `WATCHED_MAX` addresses are watched.
    """
    asked_from = [step for one in watched[:WATCHED_MAX] for step in ((_JUMP_EQUAL, 0, 1, int(one)), _ACCEPT)]
    return _program(
        (_LOAD_WORD, 0, 0, 14), (_JUMP_EQUAL, 1, 0, 0x00010800), _DROP,
        (_LOAD_HALF, 0, 0, 20), (_JUMP_EQUAL, 0, 1, 2), _ACCEPT,
        (_LOAD_WORD, 0, 0, 28), *asked_from,
        (_COPY_TO_X, 0, 0, 0), (_LOAD_WORD, 0, 0, 38), (_JUMP_EQUAL_X, 1, 0, 0), _DROP,
    )  # fmt: skip


def filter_neighbor_advertisement() -> tuple[Instruction, ...]:
    """ICMPv6 neighbour advertisements."""
    return _program(
        (_LOAD_BYTE, 0, 0, 20), (_JUMP_EQUAL, 1, 0, 58), _DROP,
        (_LOAD_BYTE, 0, 0, 54), (_JUMP_EQUAL, 1, 0, 136), _DROP,
    )  # fmt: skip


def filter_nothing() -> tuple[Instruction, ...]:
    """Let no packet into the socket."""
    return (_DROP,)


def attach_filter(sock: socket.socket, program: Sequence[Instruction]) -> None:
    """Put a classic BPF program on a socket."""
    code = array.array("B", b"".join(struct.pack("=HBBI", *instruction) for instruction in program))
    # The kernel copies the program during the call; `code` only has to live that long.
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program), code.buffer_info()[0]))


class PacketSocket:
    """Whole frames of one ethertype on one device; non-blocking."""

    def __init__(
        self,
        device: str,
        ethertype: int,
        program: Sequence[Instruction],
        *,
        multicast: Sequence[bytes] = (),
        receive_bytes: int = _RECEIVE_BYTES,
    ) -> None:
        """Open, filter, then bind, so that no frame gets past the filter.

        Args:
            device: Kernel device.
            ethertype: ETH_P_IP, ETH_P_IPV6 or ETH_P_ARP. (ETH_P_ALL would also see what we send.)
            program: A filter of this module.
            multicast: Multicast MAC addresses the device has to accept.
            receive_bytes: Size of the receive buffer.
        """
        self.device = device
        try:
            self.ifindex = socket.if_nametoindex(device)
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        except OSError as error:
            # if_nametoindex says only in words that there is no such device.
            raise system_error(error.errno or errno.ENODEV, f"cannot open a packet socket on {device}") from error
        try:
            self._set_up(ethertype, program, multicast, receive_bytes)
        except OSError as error:
            self._socket.close()
            raise system_error(error.errno or 0, f"cannot open a packet socket on {device}") from error

    def _set_up(
        self, ethertype: int, program: Sequence[Instruction], multicast: Sequence[bytes], receive_bytes: int
    ) -> None:
        self._socket.setblocking(False)
        attach_filter(self._socket, program)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        enlarge_receive_buffer(self._socket, receive_bytes)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, _PRIORITY_CONTROL)
        for mac in multicast:
            request = struct.pack("@iHH8s", self.ifindex, _PACKET_MR_MULTICAST, len(mac), mac)
            self._socket.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, request)
        self._socket.bind((self.device, ethertype))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def refilter(self, program: Sequence[Instruction]) -> None:
        """Put another filter of this module in the place of the present one, without a gap."""
        attach_filter(self._socket, program)

    def drain(self, limit: int = DRAIN_MAX) -> list[Received]:
        """What has come in, at most `limit` frames.

        A device that went down is no error here (it sends nothing, that is all). One that was removed
        never delivers again, also when another of its name appears: open a new socket.
        """
        received: list[Received] = []
        for _ in range(limit):
            try:
                frame, address = self._socket.recvfrom(_FRAME_MAX)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno not in (errno.ENETDOWN, errno.ENOBUFS):
                    raise system_error(error.errno or 0, f"cannot read from {self.device}") from error
                continue
            if address[2] != PACKET_OUTGOING:
                received.append(Received(frame, address[2], self.ifindex))
        return received

    def send(self, frame: bytes) -> int:
        """Send one frame now; 0, or the errno (ENETDOWN, ENXIO, ENOBUFS …) with nothing sent."""
        try:
            self._socket.send(frame)
        except OSError as error:
            return error.errno or errno.EIO
        return 0


class GroupMembership:
    """Multicast groups joined on a device by the kernel, so that it sends IGMP and MLD reports.

    A packet socket alone makes the network card listen but tells snooping switches nothing.
    """

    def __init__(self, ifindex: int) -> None:
        self._ifindex = ifindex
        self._sockets: dict[IPv4Address | IPv6Address, socket.socket] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def groups(self) -> frozenset[IPv4Address | IPv6Address]:
        """What is joined."""
        return frozenset(self._sockets)

    def join(self, group: IPv4Address | IPv6Address) -> None:
        """Join a group; joining again does nothing.

        Raises:
            SystemCallError: ENODEV when the device is gone or does not speak that family (any more).
        """
        if group in self._sockets:
            return
        family = socket.AF_INET if group.version == 4 else socket.AF_INET6
        # One socket per group: a socket may hold only 20 IPv4 groups (igmp_max_memberships).
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            if group.version == 4:
                request = struct.pack("=4s4si", group.packed, b"\0" * 4, self._ifindex)
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
            else:
                request = struct.pack("=16si", group.packed, self._ifindex)
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
        except OSError as error:
            sock.close()
            raise system_error(error.errno or 0, f"cannot join {group}") from error
        self._sockets[group] = sock

    def leave(self, group: IPv4Address | IPv6Address) -> None:
        """Leave a group; nothing happens when it was not joined."""
        sock = self._sockets.pop(group, None)
        if sock is not None:
            sock.close()

    def close(self) -> None:
        """Leave all."""
        for group in tuple(self._sockets):
            self.leave(group)


def raw_ip_socket(protocol: int, family: int = socket.AF_INET) -> socket.socket:
    """A raw socket that receives nothing: it only stops "protocol unreachable" answers.

    Without one the kernel answers unicast adverts of the peer with an ICMP error. It can send, too.
    """
    try:
        sock = socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    except OSError as error:
        raise system_error(error.errno or 0, f"cannot open a raw socket for IP protocol {protocol}") from error
    attach_filter(sock, filter_nothing())
    sock.setblocking(False)
    return sock
