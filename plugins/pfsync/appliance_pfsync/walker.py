"""Reads the structure of one ctnetlink message, the plain and general way: which field of a record is where.

Attributes are walked as the kernel's own parser does: any order, unknown ones ignored, of two of one kind the
last counts. Numbers and meanings: linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

HEADER_BYTES = 20
"""nlmsghdr (16) and nfgenmsg (4)."""
_ATTRIBUTE = struct.Struct("=HH")
_KIND_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER

TUPLE_ORIG, TUPLE_REPLY, STATUS, PROTOINFO, TIMEOUT, MARK, ZONE, LABELS = 1, 2, 3, 4, 7, 8, 18, 22
TUPLE_IP, TUPLE_PROTO, TUPLE_ZONE = 1, 2, 3
IP_V4_SRC, IP_V4_DST, IP_V6_SRC, IP_V6_DST = 1, 2, 3, 4
PROTO_NUM, PROTO_SRC_PORT, PROTO_DST_PORT = 1, 2, 3
PROTO_ICMP, PROTO_ICMPV6 = (4, 5, 6), (7, 8, 9)  # id, type, code
PROTOINFO_TCP = 1
TCP_STATE, TCP_WSCALE_ORIG, TCP_WSCALE_REPLY, TCP_FLAGS_ORIG, TCP_FLAGS_REPLY = 1, 2, 3, 4, 5

Attributes = dict[int, tuple[int, int]]
"""By kind: where the payload begins and ends, in bytes of the message."""


class MalformedError(ValueError):
    """This is no message of a connection."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything is. Holds for every message of the same length with the same attribute headers."""

    family: int
    """4, 6, or 0 when a record cannot hold it (one tuple of IPv4 and one of IPv6, or of neither)."""
    fields: Mapping[str, int]
    """Offset of each field that the message has: named as in the record, except that ICMP has `…_type` and `…_code`
    and the window scales are `wscale_orig` and `wscale_reply`."""
    headers: tuple[int, ...]
    """Offset of every attribute header that was read; nothing else decided about this layout."""


def walk(message: bytes) -> Layout:
    """Raises: MalformedError."""
    return _Walk(message).layout()


@dataclass(slots=True)
class _Walk:
    message: bytes
    fields: dict[str, int] = field(default_factory=dict)
    headers: list[int] = field(default_factory=list)

    def layout(self) -> Layout:
        top = self._attributes(HEADER_BYTES, len(self.message))
        families = {self._tuple(top, TUPLE_ORIG, "orig"), self._tuple(top, TUPLE_REPLY, "reply")}
        self._take(top, STATUS, "status", 4)
        self._take(top, TIMEOUT, "timeout", 4)
        self._take(top, MARK, "mark", 4)
        self._take(top, ZONE, "zone", 2)
        self._take(top, LABELS, "labels", 16)
        if PROTOINFO in top:
            self._protoinfo(self._attributes(*top[PROTOINFO]))
        family = families.pop() if len(families) == 1 else 0
        return Layout(family, self.fields, tuple(self.headers))

    def _attributes(self, start: int, end: int) -> Attributes:
        found: Attributes = {}
        while start + 4 <= end:
            size, kind = _ATTRIBUTE.unpack_from(self.message, start)
            if size < 4 or start + size > end:
                raise MalformedError(f"attribute at {start} has {size} bytes of {end - start}")
            self.headers.append(start)
            found[kind & _KIND_MASK] = (start + 4, start + size)
            start += (size + 3) & ~3
        return found

    def _take(self, found: Attributes, kind: int, name: str, size: int) -> bool:
        """Note where a field is, if the message has it."""
        if kind not in found:
            return False
        start, end = found[kind]
        if end - start < size:
            raise MalformedError(f"{name} has {end - start} bytes instead of {size}")
        self.fields[name] = start
        return True

    def _tuple(self, top: Attributes, kind: int, side: str) -> int:
        """One direction; its address family or 0."""
        if kind not in top:
            raise MalformedError(f"without the tuple of direction {side}")
        parts = self._attributes(*top[kind])
        if TUPLE_IP not in parts or TUPLE_PROTO not in parts:
            raise MalformedError(f"tuple of direction {side} is not complete")
        if "zone" not in self.fields:
            self._take(parts, TUPLE_ZONE, "zone", 2)
        self._proto(self._attributes(*parts[TUPLE_PROTO]), side)
        return self._addresses(self._attributes(*parts[TUPLE_IP]), side)

    def _addresses(self, ip: Attributes, side: str) -> int:
        for family, source, destination, size in ((4, IP_V4_SRC, IP_V4_DST, 4), (6, IP_V6_SRC, IP_V6_DST, 16)):
            has_source = self._take(ip, source, f"{side}_src", size)
            has_destination = self._take(ip, destination, f"{side}_dst", size)
            if has_source and has_destination:
                return family
        return 0

    def _proto(self, proto: Attributes, side: str) -> None:
        # The protocol of a flow is the same in both tuples.
        if not self._take(proto, PROTO_NUM, "proto", 1):
            raise MalformedError(f"tuple of direction {side} has no protocol")
        for identifier, kind, code in (PROTO_ICMP, PROTO_ICMPV6):
            if identifier in proto:
                self._take(proto, identifier, f"{side}_sport", 2)
                self._take(proto, kind, f"{side}_type", 1)
                self._take(proto, code, f"{side}_code", 1)
                return
        self._take(proto, PROTO_SRC_PORT, f"{side}_sport", 2)
        self._take(proto, PROTO_DST_PORT, f"{side}_dport", 2)

    def _protoinfo(self, info: Attributes) -> None:
        if PROTOINFO_TCP not in info:
            return
        tcp = self._attributes(*info[PROTOINFO_TCP])
        self._take(tcp, TCP_STATE, "tcp_state", 1)
        self._take(tcp, TCP_WSCALE_ORIG, "wscale_orig", 1)
        self._take(tcp, TCP_WSCALE_REPLY, "wscale_reply", 1)
        self._take(tcp, TCP_FLAGS_ORIG, "tcp_flags_orig", 2)
        self._take(tcp, TCP_FLAGS_REPLY, "tcp_flags_reply", 2)
