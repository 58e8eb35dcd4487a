"""One entry of the connection-tracking table as values, and the words in which it is described."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum, IntFlag
from ipaddress import IPv4Address, IPv6Address
from socket import AF_INET, AF_INET6

Address = IPv4Address | IPv6Address

ICMP, TCP, UDP, GRE, ICMPV6 = 1, 6, 17, 47, 58
WITH_PORTS = frozenset({TCP, UDP, 33, GRE, 132, 136})
"""Protocols whose tuples have ports: also DCCP, GRE (its keys), SCTP and UDP-Lite (nf_conntrack_proto_*.c)."""
LABELS_SIZE = 16
"""Bytes of the labels of an entry (NF_CT_LABELS_MAX_SIZE)."""

_ICMP_ANSWERS = {8: 0, 0: 8, 13: 14, 14: 13, 15: 16, 16: 15, 17: 18, 18: 17}
_ICMPV6_ANSWERS = {128: 129, 129: 128, 139: 140, 140: 139}
"""Message types that the kernel tracks and their opposites (nf_conntrack_proto_icmp.c, …_icmpv6.c)."""


class Malformed(Exception):  # noqa: N818 - what it describes is the message, not a failure of ours
    """A message that no kernel sends."""


class Group(IntEnum):
    """Events of one kind (NFNLGRP_CONNTRACK_* of linux/netfilter/nfnetlink.h), and what a message says."""

    NEW = 1
    UPDATE = 2
    """It changed; also every entry of a dump, and every answer to a question."""
    DESTROY = 3


class Status(IntFlag):
    """Bits of CTA_STATUS that matter here (IPS_* of linux/netfilter/nf_conntrack_common.h)."""

    SEEN_REPLY = 0x2
    ASSURED = 0x4
    CONFIRMED = 0x8


class TcpFlag(IntFlag):
    """What is known of one side of a TCP connection (IP_CT_TCP_FLAG_* of linux/netfilter/nf_conntrack_tcp.h)."""

    WINDOW_SCALE = 0x01
    SACK_PERM = 0x02
    CLOSE_INIT = 0x04
    """It sent the first FIN."""
    BE_LIBERAL = 0x08
    """Its segments are accepted whatever their sequence numbers are."""
    DATA_UNACKNOWLEDGED = 0x10
    MAXACK_SET = 0x20
    CHALLENGE_ACK = 0x40
    SIMULTANEOUS_OPEN = 0x80


@dataclass(frozen=True, slots=True)
class Tuple:
    """How packets of one direction are recognised."""

    src: Address
    dst: Address
    proto: int
    sport: int = 0
    """Ports are 0 for protocols that have none."""
    dport: int = 0
    icmp_id: int = 0
    icmp_type: int = 0
    icmp_code: int = 0

    @property
    def inverse(self) -> Tuple:
        """The tuple of the answers, without any translation."""
        answers = {ICMP: _ICMP_ANSWERS, ICMPV6: _ICMPV6_ANSWERS}.get(self.proto, {})
        kind = answers.get(self.icmp_type, self.icmp_type)
        return replace(self, src=self.dst, dst=self.src, sport=self.dport, dport=self.sport, icmp_type=kind)


@dataclass(frozen=True, slots=True)
class Tcp:
    """State of a TCP connection."""

    state: int
    """TCP_CONNTRACK_*: 3 is ESTABLISHED."""
    flags_orig: int = 0
    """`TcpFlag` of the initiator."""
    flags_reply: int = 0
    wscale_orig: int = 0
    """Shift of the window that the initiator advertises, 0 to 14; counts with WINDOW_SCALE."""
    wscale_reply: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry. `reply` is what the answers really look like: translated, if the connection is."""

    orig: Tuple
    reply: Tuple
    status: int = 0
    timeout: int = 0
    """Seconds that remain, or that did when it was removed; 0 when it has expired."""
    mark: int = 0
    zone: int = 0
    """Of both directions."""
    tcp: Tcp | None = None
    labels: bytes = b""
    """`LABELS_SIZE` bytes, or none."""
    id: int = 0
    """Of this kernel only."""
    kind: Group = Group.UPDATE
    port: int = 0
    """Netlink port id of the program that caused the event; 0 when the kernel acted by itself."""

    @property
    def family(self) -> int:
        """AF_INET or AF_INET6."""
        return AF_INET if self.orig.src.version == 4 else AF_INET6

    @property
    def source_nat(self) -> tuple[Address, int] | None:
        """What the initiator is translated to: address, and port or ICMP identifier; nothing if it is not."""
        plain, real = self.orig.inverse, self.reply
        if (real.dst, real.dport, real.icmp_id) == (plain.dst, plain.dport, plain.icmp_id):
            return None
        return real.dst, real.icmp_id if real.proto in (ICMP, ICMPV6) else real.dport

    @property
    def destination_nat(self) -> tuple[Address, int] | None:
        """What the responder is translated to: address and port (0 for an echo); nothing if it is not."""
        plain, real = self.orig.inverse, self.reply
        if (real.src, real.sport) == (plain.src, plain.sport):
            return None
        return real.src, real.sport
