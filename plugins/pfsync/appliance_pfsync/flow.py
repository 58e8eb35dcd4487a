"""The flow record: one entry of the connection-tracking table as 60 bytes (IPv4) or 108 bytes (IPv6).

Arrays of these records are what every stage works on: netlink messages are decoded into them, they are
filtered, merged and hashed as they are, their bytes are the payload of a native datagram, and netlink
messages are built from them. Everything is in network byte order, so that no stage converts.

ICMP and ICMPv6 echo use the ports of a tuple for ``id`` and ``type << 8 | code``, in both directions.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Any

import numpy as np
import numpy.typing as npt

Flows = npt.NDArray[np.void]
"""A one-dimensional array of dtype `FLOW4` or `FLOW6`."""


class Op(IntEnum):
    """What a record says about its flow."""

    INSERT = 1
    """It is new to the sender's peers."""
    UPDATE = 2
    """It changed."""
    DELETE = 3
    """It ended. Only the key counts."""
    REQUEST = 4
    """The sender's copy expired: whoever still has the flow sends an UPDATE. Only the key counts."""


class Status(IntFlag):
    """Bits of CTA_STATUS (linux/netfilter/nf_conntrack_common.h)."""

    EXPECTED = 0x1
    SEEN_REPLY = 0x2
    ASSURED = 0x4
    CONFIRMED = 0x8
    SRC_NAT = 0x10
    DST_NAT = 0x20
    SEQ_ADJUST = 0x40
    SRC_NAT_DONE = 0x80
    DST_NAT_DONE = 0x100
    DYING = 0x200
    FIXED_TIMEOUT = 0x400


class TcpState(IntEnum):
    """CTA_PROTOINFO_TCP_STATE (linux/netfilter/nf_conntrack_tcp.h)."""

    NONE = 0
    SYN_SENT = 1
    SYN_RECV = 2
    ESTABLISHED = 3
    FIN_WAIT = 4
    CLOSE_WAIT = 5
    LAST_ACK = 6
    TIME_WAIT = 7
    CLOSE = 8
    SYN_SENT2 = 9


ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58


def _layout(address: Any) -> np.dtype[np.void]:
    return np.dtype([
        ("op", "u1"),
        ("proto", "u1"),
        ("zone", ">u2"),
        ("orig_src", address),
        ("orig_dst", address),
        ("orig_sport", ">u2"),
        ("orig_dport", ">u2"),
        ("reply_src", address),
        ("reply_dst", address),
        ("reply_sport", ">u2"),
        ("reply_dport", ">u2"),
        ("status", ">u4"),
        ("timeout", ">u4"),  # seconds that remain
        ("mark", ">u4"),
        ("tcp_state", "u1"),  # 0 for other protocols
        ("tcp_flags_orig", "u1"),  # IP_CT_TCP_FLAG_*
        ("tcp_flags_reply", "u1"),
        ("wscale", "u1"),  # original direction in the high four bits, reply in the low
        ("labels", "V16"),  # as the kernel has them; zeros without labels
    ])  # fmt: skip


FLOW4 = _layout(">u4")
FLOW6 = _layout("V16")
assert FLOW4.itemsize == 60
assert FLOW6.itemsize == 108

KEY4 = slice(1, 28)
"""Bytes of a FLOW4 that name the flow: protocol, zone, both tuples. With the reply tuple, because a copy that is
translated to another port is another flow."""
KEY6 = slice(1, 76)
"""The same of a FLOW6."""


def family_of(flows: Flows) -> int:
    """4 or 6."""
    return 4 if flows.dtype == FLOW4 else 6


def key_hashes(flows: Flows) -> npt.NDArray[np.uint64]:
    """One 64-bit number per flow, the same on every node: family, protocol, zone and both tuples, mixed.

    Not a secret and no protection against chosen collisions: two flows with one number are only ever treated
    as one by the audit, which then repairs neither.
    """
    size = flows.dtype.itemsize
    raw = np.ascontiguousarray(flows).view(np.uint8).reshape(-1, size)
    key = raw[:, KEY4 if size == FLOW4.itemsize else KEY6]
    padded = np.zeros((len(flows), (key.shape[1] + 7) // 8 * 8), np.uint8)
    padded[:, : key.shape[1]] = key
    words = padded.view("<u8")
    mixed = np.full(len(flows), size, np.uint64)
    for column in range(words.shape[1]):
        mixed = _mix(mixed ^ words[:, column])
    return mixed


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finalizer of splitmix64 (Steele, Lea, Flood 2014): every input bit reaches every output bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
