"""One parent interface: its packet sockets, its own addresses, and the frames that leave through it.

Frames, not packets: adverts, ARP and ND of a virtual host carry the virtual MAC as Ethernet source, which
only a packet socket on the parent can do. Reception by packet socket is independent of the firewall, of
rp_filter and of addresses. Unicast adverts are the exception: they need routing, so they go through raw IP
sockets and carry the NIC's MAC.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

from appliance.net import fastpath, frames, packet
from appliance_carp.settings import PortSettings
from appliance_carp.wire import GROUP_V4, GROUP_V6, PROTOCOL, TTL

Address = IPv4Address | IPv6Address
HEADERS_MAX = 1024
"""Prepared headers; a port has at most 255 VHIDs in two families, and hellos of changing sizes."""
TOS = 0xE0
"""Class selector 7, as FreeBSD sends (net.inet.carp.dscp 56)."""
_MAC_V4 = frames.multicast_mac(IPv4Address(GROUP_V4))
_MAC_V6 = frames.multicast_mac(IPv6Address(GROUP_V6))
_IP_PKTINFO = 8
"""linux/in.h; the socket module of Python 3.11 does not know it."""
UNSPECIFIED = {4: "0.0.0.0", 6: "::"}


@dataclass(slots=True)
class Sockets:
    """The open sockets of an attached port."""

    ipv4: packet.PacketSocket
    ipv6: packet.PacketSocket
    arp: packet.PacketSocket
    unicast: dict[int, socket.socket] = field(default_factory=dict)

    def all_packet(self) -> tuple[packet.PacketSocket, ...]:
        """The packet sockets, to be drained."""
        return (self.ipv4, self.ipv6, self.arp)

    def close(self) -> None:
        """Close everything."""
        for through in self.all_packet():
            through.close()
        for raw in self.unicast.values():
            raw.close()

    def filenos(self) -> list[int]:
        """File descriptors, for whoever inherits them."""
        return [*(each.fileno() for each in self.all_packet()), *(each.fileno() for each in self.unicast.values())]


@dataclass(slots=True)
class Port:
    """A parent interface at run time. Detached while its device does not exist."""

    settings: PortSettings
    index: int = 0
    mac: str = ""
    up: bool = False
    sockets: Sockets | None = None
    own: dict[int, str] = field(default_factory=dict)
    """Source address per family (see `choose_sources`)."""
    every_own: frozenset[str] = frozenset()
    _headers: dict[tuple[int, str, int], bytes] = field(default_factory=dict)
    """By family, source MAC and payload size: one per virtual host, and a few for hellos."""

    @property
    def name(self) -> str:
        """Logical interface."""
        return self.settings.interface

    def attach(self, link: fastpath.LinkInfo) -> None:
        """Open the sockets on a device that has appeared.

        Raises:
            KernelError: No CAP_NET_RAW, or the device went away again.
        """
        self.detach()
        device = self.settings.device
        self.index, self.mac = link.index, link.mac
        self.sockets = Sockets(
            packet.PacketSocket(device, packet.ETH_P_IP, packet.filter_ipv4(PROTOCOL), multicast=(_MAC_V4,)),
            packet.PacketSocket(device, packet.ETH_P_IPV6, packet.filter_ipv6(PROTOCOL), multicast=(_MAC_V6,)),
            packet.PacketSocket(device, packet.ETH_P_ARP, packet.filter_arp_claims()),
        )
        for family in (4, 6):
            # Also without unicast peers: while it is open the kernel does not answer protocol 112 with an ICMP error.
            self.sockets.unicast[family] = _unicast_socket(family)

    def watch(self, addresses: Iterable[Address]) -> None:
        """Hear also ordinary ARP requests that are sent from these addresses: nobody else may use them."""
        if self.sockets is not None:
            watched = [address for address in addresses if isinstance(address, IPv4Address)]
            self.sockets.arp.refilter(packet.filter_arp_claims(watched))

    def detach(self) -> None:
        """The device is gone."""
        if self.sockets is not None:
            self.sockets.close()
        self.sockets, self.index, self.up = None, 0, False

    def learn_addresses(self, addresses: Iterable[fastpath.AddressInfo]) -> None:
        """Take the kernel's addresses of the device."""
        found = [info.address for info in addresses]
        self.own = choose_sources(found)
        self._headers.clear()
        self.every_own = frozenset(str(each) for each in found)

    def source(self, family: int) -> str:
        """The source address of our adverts; unspecified when the interface has none of that family."""
        return self.own.get(family, UNSPECIFIED[family])

    def send_advert(self, payload: bytes, family: int, mac: str) -> bool:
        """Multicast an advert from a virtual MAC; whether the kernel took it."""
        if self.sockets is None:
            return False
        through = self.sockets.ipv4 if family == 4 else self.sockets.ipv6
        return _send(through, self._header(family, mac, len(payload)) + payload)

    def _header(self, family: int, mac: str, size: int) -> bytes:
        """Ethernet and IP header of adverts; neither depends on the payload, so each is made once."""
        header = self._headers.get((family, mac, size))
        if header is None:
            make = _ipv4_frame if family == 4 else _ipv6_frame
            header = make(self.source(family), frames.mac_bytes(mac), bytes(size))[:-size]
            if len(self._headers) >= HEADERS_MAX:
                self._headers.clear()
            self._headers[family, mac, size] = header
        return header

    def unicast_source(self, peer: Address) -> str:
        """The source of adverts to one peer: routable when the peer is beyond the link."""
        if peer.version == 6 and not peer.is_link_local:
            routable = (each for each in sorted(self.every_own) if ":" in each and not each.startswith("fe80"))
            return next(routable, self.source(6))
        return self.source(peer.version)

    def send_unicast(self, payload: bytes, peer: Address) -> bool:
        """Send an advert to one peer, routed, from `unicast_source`."""
        if self.sockets is None:
            return False
        source = ip_address(self.unicast_source(peer)).packed
        if peer.version == 4:  # struct in_pktinfo: interface, source, (received) destination
            control = (socket.IPPROTO_IP, _IP_PKTINFO, struct.pack("=i4s4s", 0, source, b"\0" * 4))
        else:  # struct in6_pktinfo: source, interface
            control = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, struct.pack("=16si", source, 0))
        try:
            self.sockets.unicast[peer.version].sendmsg([payload], [control], 0, (str(peer), 0))
        except OSError:
            return False
        return True

    def announce(self, addresses: Iterable[Address], mac: str) -> None:
        """Tell the network where the virtual addresses are: gratuitous ARP and unsolicited neighbour adverts."""
        if self.sockets is None:
            return
        for address in addresses:
            if address.version == 4:
                _send(self.sockets.arp, frames.gratuitous_arp(frames.mac_bytes(mac), address))
            else:
                _send(self.sockets.ipv6, frames.unsolicited_na(frames.mac_bytes(mac), address, router=True))

    def probe(self, target: Address, *, to: str = "") -> None:
        """Ask who has an address of the peer, from our own: everybody, or only the card with the MAC `to`."""
        source = self.own.get(target.version)
        if self.sockets is None or source is None:
            return
        if target.version == 4:
            card = frames.mac_bytes(to) if to else frames.BROADCAST_MAC
            own = frames.mac_bytes(self.mac)
            _send(self.sockets.arp, frames.arp_request(own, IPv4Address(source), target, destination_mac=card))

    def is_unicast_to_us(self, destination: str) -> bool:
        """Whether a packet was sent to this node and not to the CARP group."""
        return destination in self.every_own


def _ipv4_frame(source: str, source_mac: bytes, payload: bytes) -> bytes:
    return frames.ipv4_frame(
        source_mac=source_mac,
        destination_mac=_MAC_V4,
        source=IPv4Address(source),
        destination=IPv4Address(GROUP_V4),
        protocol=PROTOCOL,
        payload=payload,
        tos=TOS,
        ttl=TTL,
    )


def _ipv6_frame(source: str, source_mac: bytes, payload: bytes) -> bytes:
    return frames.ipv6_frame(
        source_mac=source_mac,
        destination_mac=_MAC_V6,
        source=IPv6Address(source),
        destination=IPv6Address(GROUP_V6),
        next_header=PROTOCOL,
        payload=payload,
        traffic_class=TOS,
        hop_limit=TTL,
    )


def choose_sources(addresses: Iterable[Address]) -> dict[int, str]:
    """The source of our adverts per family: the first address; for IPv6 the link-local one when there is one.

    FreeBSD takes the best address of the interface that is not virtual, which for IPv6 is normally the
    link-local one (ip_carp.c, carp_bestaddr); virtual addresses live on other devices here.
    """
    sources: dict[int, str] = {}
    for address in addresses:
        if address.version == 6 and address.is_link_local and not ip_address(sources.get(6, "::1")).is_link_local:
            sources[6] = str(address)
        else:
            sources.setdefault(address.version, str(address))
    return sources


def _send(through: packet.PacketSocket, frame: bytes) -> bool:
    return through.send(frame) == 0  # counted by the caller; a dead link is reported by its own event


def _unicast_socket(family: int) -> socket.socket:
    # Its filter lets nothing in. A socket that is merely never read fills up, and a full one is none to the kernel.
    opened = packet.raw_ip_socket(PROTOCOL, socket.AF_INET if family == 4 else socket.AF_INET6)
    if family == 4:
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, TTL)
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, TOS)
    else:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, TTL)
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, TOS)
    return opened
