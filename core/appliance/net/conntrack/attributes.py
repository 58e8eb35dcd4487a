"""Words and attributes of ctnetlink (linux/netfilter/nfnetlink_conntrack.h): packed and walked by hand.

Unlike those of routing netlink all values here are in network byte order; headers are in the host's.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from appliance.net.conntrack.entry import Malformed

NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_EXCL, NLM_F_CREATE = 0x200, 0x400

CT_NEW, CT_GET, CT_DELETE, CT_STATS = 0x100, 0x101, 0x102, 0x105
"""Message types: NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW, GET, DELETE and GET_STATS."""

TUPLE_ORIG, TUPLE_REPLY, STATUS, PROTOINFO, NAT_SRC, TIMEOUT, MARK = 1, 2, 3, 4, 6, 7, 8
ID, NAT_DST, ZONE, LABELS = 12, 13, 18, 22
TUPLE_IP, TUPLE_PROTO = 1, 2
IP_V4_SRC, IP_V4_DST, IP_V6_SRC, IP_V6_DST = 1, 2, 3, 4
PROTO_NUM, SRC_PORT, DST_PORT = 1, 2, 3
ICMP_ID, ICMP_TYPE, ICMP_CODE, ICMPV6_ID, ICMPV6_TYPE, ICMPV6_CODE = 4, 5, 6, 7, 8, 9
PROTOINFO_TCP = 1
TCP_STATE, WSCALE_ORIG, WSCALE_REPLY, FLAGS_ORIG, FLAGS_REPLY = 1, 2, 3, 4, 5
NAT_V4_MIN, NAT_V4_MAX, NAT_PROTO, NAT_V6_MIN, NAT_V6_MAX = 1, 2, 3, 4, 5
NAT_PORT_MIN, NAT_PORT_MAX = 1, 2

HEADER = struct.Struct("=IHHII")
"""Length, type, flags, sequence, port id of the sender (struct nlmsghdr)."""
FAMILY = struct.Struct("=BBH")
"""Address family, version 0, resource 0 (struct nfgenmsg)."""
BODY = HEADER.size + FAMILY.size
"""Where the attributes of a message begin."""

_ATTRIBUTE = struct.Struct("=HH")
_NESTED = 0x8000
_TYPE_MASK = 0x3FFF


def message(kind: int, flags: int, family: int, attributes: bytes, seq: int) -> bytes:
    """A request. It asks for no acknowledgement: the kernel reports what failed in any case."""
    length = BODY + len(attributes)
    return HEADER.pack(length, kind, flags | NLM_F_REQUEST, seq, 0) + FAMILY.pack(family, 0, 0) + attributes


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(4 + len(payload), kind) + payload + b"\0" * (-len(payload) % 4)


def nested(kind: int, *inner: bytes) -> bytes:
    """An attribute that is made of attributes."""
    return attribute(kind | _NESTED, b"".join(inner))


def u8(kind: int, value: int) -> bytes:
    """An attribute of one byte."""
    return attribute(kind, value.to_bytes(1, "big"))


def be16(kind: int, value: int) -> bytes:
    """An attribute of two bytes in network byte order."""
    return attribute(kind, value.to_bytes(2, "big"))


def be32(kind: int, value: int) -> bytes:
    """An attribute of four bytes in network byte order."""
    return attribute(kind, value.to_bytes(4, "big"))


def walk(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Every attribute as ``(type, payload)``.

    Raises:
        Malformed: A length that cannot be.
    """
    offset = 0
    while offset < len(data):
        if offset + 4 > len(data):
            raise Malformed(f"{len(data) - offset} bytes after the last attribute")
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > len(data):
            raise Malformed(f"attribute {kind & _TYPE_MASK} of {length} bytes in {len(data) - offset}")
        yield kind & _TYPE_MASK, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def number(payload: bytes, size: int) -> int:
    """An unsigned number in network byte order, of this many bytes.

    Raises:
        Malformed: It has another size.
    """
    if len(payload) != size:
        raise Malformed(f"a number of {len(payload)} bytes instead of {size}")
    return int.from_bytes(payload, "big")
