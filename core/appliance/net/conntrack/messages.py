"""ctnetlink messages about one entry: parsed and built attribute by attribute.

This is the reference: slow, complete and obvious. What it builds is what a standby must put into its kernel so
that the packets of a connection it has never seen are let through and translated:

- The reply tuple is the *plain* inverse of the original one, and the translation is asked for by CTA_NAT_SRC and
  CTA_NAT_DST. An already translated reply tuple lists the same, and nothing is translated.
- Both sides of a TCP connection are liberal, because the kernel does not tell its sequence numbers.
- What the sequence numbers of the other kernel meant (MAXACK_SET, DATA_UNACKNOWLEDGED, …) stays behind.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from socket import AF_INET, AF_INET6

from appliance.net.conntrack import attributes as a
from appliance.net.conntrack.entry import (
    ICMP,
    ICMPV6,
    LABELS_SIZE,
    TCP,
    WITH_PORTS,
    Address,
    Group,
    Status,
    TcpFlag,
)
from appliance.net.conntrack.entry import Entry as Entry
from appliance.net.conntrack.entry import Malformed as Malformed
from appliance.net.conntrack.entry import Tcp as Tcp
from appliance.net.conntrack.entry import Tuple as Tuple

TRANSFERRED_STATUS = Status.SEEN_REPLY | Status.ASSURED
"""The rest is the receiving kernel's own affair, and some of it (EXPECTED, DYING) makes it refuse an entry."""
TRANSFERRED_FLAGS = TcpFlag.WINDOW_SCALE | TcpFlag.SACK_PERM | TcpFlag.CLOSE_INIT
"""MAXACK_SET without the number it speaks of would make half of all resets invalid (tcp_in_window)."""

# ---------------------------------------------------------------------------------------------- parsing


def parse(message: bytes | bytearray | memoryview) -> Entry:
    """One whole message: an event, a part of a dump, or an answer.

    Raises:
        Malformed: It is not one message about one entry with both of its tuples.
    """
    message = bytes(message)
    if len(message) < a.BODY:
        raise Malformed(f"{len(message)} bytes")
    length, kind, flags, _seq, port = a.HEADER.unpack_from(message)
    family, _version, _resource = a.FAMILY.unpack_from(message, a.HEADER.size)
    if length != len(message):
        raise Malformed(f"{len(message)} bytes that claim to be {length}")
    if kind not in (a.CT_NEW, a.CT_DELETE):
        raise Malformed(f"message type {kind:#x}")
    if family not in (AF_INET, AF_INET6):
        raise Malformed(f"address family {family}")
    found = dict(a.walk(message[a.BODY :]))
    if a.TUPLE_ORIG not in found or a.TUPLE_REPLY not in found:
        raise Malformed("a tuple is missing")
    return Entry(
        orig=_parse_tuple(found[a.TUPLE_ORIG], family),
        reply=_parse_tuple(found[a.TUPLE_REPLY], family),
        status=_number(found, a.STATUS, 4),
        timeout=_number(found, a.TIMEOUT, 4),
        mark=_number(found, a.MARK, 4),
        zone=_number(found, a.ZONE, 2),
        tcp=_parse_tcp(found.get(a.PROTOINFO, b"")),
        labels=found.get(a.LABELS, b""),
        id=_number(found, a.ID, 4),
        kind=_kind(kind, flags),
        port=port,
    )


def _kind(kind: int, flags: int) -> Group:
    if kind == a.CT_DELETE:
        return Group.DESTROY
    return Group.NEW if flags & a.NLM_F_CREATE else Group.UPDATE


def _number(found: dict[int, bytes], kind: int, size: int) -> int:
    return a.number(found[kind], size) if kind in found else 0


def _parse_tuple(data: bytes, family: int) -> Tuple:
    parts = dict(a.walk(data))
    ip, proto = dict(a.walk(parts.get(a.TUPLE_IP, b""))), dict(a.walk(parts.get(a.TUPLE_PROTO, b"")))
    v6 = family == AF_INET6
    if a.PROTO_NUM not in proto:
        raise Malformed("a tuple without a protocol")
    number = a.number(proto[a.PROTO_NUM], 1)
    is_v6 = number == ICMPV6
    return Tuple(
        src=_parse_address(ip.get(a.IP_V6_SRC if v6 else a.IP_V4_SRC, b""), v6),
        dst=_parse_address(ip.get(a.IP_V6_DST if v6 else a.IP_V4_DST, b""), v6),
        proto=number,
        sport=_number(proto, a.SRC_PORT, 2),
        dport=_number(proto, a.DST_PORT, 2),
        icmp_id=_number(proto, a.ICMPV6_ID if is_v6 else a.ICMP_ID, 2),
        icmp_type=_number(proto, a.ICMPV6_TYPE if is_v6 else a.ICMP_TYPE, 1),
        icmp_code=_number(proto, a.ICMPV6_CODE if is_v6 else a.ICMP_CODE, 1),
    )


def _parse_address(payload: bytes, v6: bool) -> Address:
    if len(payload) != (16 if v6 else 4):
        raise Malformed(f"an address of {len(payload)} bytes")
    return IPv6Address(payload) if v6 else IPv4Address(payload)


def _parse_tcp(protoinfo: bytes) -> Tcp | None:
    outer = dict(a.walk(protoinfo))
    if a.PROTOINFO_TCP not in outer:
        return None
    found = dict(a.walk(outer[a.PROTOINFO_TCP]))
    return Tcp(
        state=_number(found, a.TCP_STATE, 1),
        flags_orig=_number(found, a.FLAGS_ORIG, 2) >> 8,  # flags, then a mask
        flags_reply=_number(found, a.FLAGS_REPLY, 2) >> 8,
        wscale_orig=_number(found, a.WSCALE_ORIG, 1),
        wscale_reply=_number(found, a.WSCALE_REPLY, 1),
    )


# ---------------------------------------------------------------------------------------------- building


def build_create(entry: Entry, seq: int, *, excl: bool = True) -> bytes:
    """Make an entry; with `excl` fail with EEXIST when one of its tuples exists, otherwise update that one.

    The kernel refuses an update that has a translation in it (EOPNOTSUPP), so without `excl` only entries
    without NAT are updated.
    """
    flags = a.NLM_F_CREATE | (a.NLM_F_EXCL if excl else 0)
    body = _tuple(a.TUPLE_ORIG, entry.orig) + _tuple(a.TUPLE_REPLY, entry.orig.inverse)
    if entry.source_nat is not None:
        body += _nat(a.NAT_SRC, *entry.source_nat, has_port=entry.orig.proto in (*WITH_PORTS, ICMP, ICMPV6))
    if entry.destination_nat is not None:
        # The identifier of an echo belongs to who asks.
        body += _nat(a.NAT_DST, *entry.destination_nat, has_port=entry.orig.proto in WITH_PORTS)
    body += _contents(entry)
    if entry.mark:
        body += a.be32(a.MARK, entry.mark)
    if any(entry.labels):
        body += a.attribute(a.LABELS, entry.labels.ljust(LABELS_SIZE, b"\0"))
    return a.message(a.CT_NEW, flags, entry.family, body, seq)


def build_update(entry: Entry, seq: int) -> bytes:
    """Change timeout, status, TCP state and mark of an entry; fails with ENOENT when there is none.

    It is found by its reply tuple, because a local entry that is translated otherwise is another connection.
    A status that has nothing to add is left out: the kernel refuses (EBUSY, after it has set the timeout) to take
    SEEN_REPLY or ASSURED back. So are labels, which it refuses (ENOSPC) where no rule knows them.
    """
    body = _tuple(a.TUPLE_REPLY, entry.reply)
    body += _contents(entry, has_status=bool(entry.status & TRANSFERRED_STATUS)) + a.be32(a.MARK, entry.mark)
    return a.message(a.CT_NEW, 0, entry.family, body, seq)


def build_delete(wanted: Tuple, seq: int, *, zone: int = 0, by_reply: bool = False) -> bytes:
    """Remove the entry that has this tuple in any direction (the kernel does not tell them apart).

    Args:
        wanted: The tuple. A request without one would empty the whole table.
        seq: Sequence number.
        zone: Of the entry.
        by_reply: Name it as the reply tuple; the kernel finds the same.
    """
    return a.message(a.CT_DELETE, 0, _family(wanted), _key(wanted, zone, by_reply), seq)


def build_get(wanted: Tuple, seq: int, *, zone: int = 0, by_reply: bool = False) -> bytes:
    """Ask for the entry that has this tuple in any direction."""
    return a.message(a.CT_GET, 0, _family(wanted), _key(wanted, zone, by_reply), seq)


def build_dump(family: int, seq: int) -> bytes:
    """Ask for all entries, of one address family or (0) of both."""
    return a.message(a.CT_GET, a.NLM_F_DUMP, family, b"", seq)


def _family(wanted: Tuple) -> int:
    return AF_INET if wanted.src.version == 4 else AF_INET6


def _key(wanted: Tuple, zone: int, by_reply: bool) -> bytes:
    return _tuple(a.TUPLE_REPLY if by_reply else a.TUPLE_ORIG, wanted) + (a.be16(a.ZONE, zone) if zone else b"")


def _tuple(kind: int, of: Tuple) -> bytes:
    v4 = of.src.version == 4
    addresses = a.attribute(a.IP_V4_SRC if v4 else a.IP_V6_SRC, of.src.packed)
    addresses += a.attribute(a.IP_V4_DST if v4 else a.IP_V6_DST, of.dst.packed)
    proto = a.u8(a.PROTO_NUM, of.proto)
    if of.proto in WITH_PORTS:
        proto += a.be16(a.SRC_PORT, of.sport) + a.be16(a.DST_PORT, of.dport)
    elif of.proto == ICMP:
        proto += a.be16(a.ICMP_ID, of.icmp_id) + a.u8(a.ICMP_TYPE, of.icmp_type) + a.u8(a.ICMP_CODE, of.icmp_code)
    elif of.proto == ICMPV6:
        proto += a.be16(a.ICMPV6_ID, of.icmp_id)
        proto += a.u8(a.ICMPV6_TYPE, of.icmp_type) + a.u8(a.ICMPV6_CODE, of.icmp_code)
    return a.nested(kind, a.nested(a.TUPLE_IP, addresses), a.nested(a.TUPLE_PROTO, proto))


def _nat(kind: int, address: Address, port: int, *, has_port: bool) -> bytes:
    """A range of one: with a choice the kernel might take another address or port than the connection has."""
    v4 = address.version == 4
    inner = a.attribute(a.NAT_V4_MIN if v4 else a.NAT_V6_MIN, address.packed)
    inner += a.attribute(a.NAT_V4_MAX if v4 else a.NAT_V6_MAX, address.packed)
    if has_port:
        inner += a.nested(a.NAT_PROTO, a.be16(a.NAT_PORT_MIN, port), a.be16(a.NAT_PORT_MAX, port))
    return a.nested(kind, inner)


def _contents(entry: Entry, *, has_status: bool = True) -> bytes:
    """What is the same in both: status, timeout, TCP state and zone."""
    body = a.be32(a.STATUS, entry.status & TRANSFERRED_STATUS | Status.CONFIRMED) if has_status else b""
    body += a.be32(a.TIMEOUT, entry.timeout)
    if entry.orig.proto == TCP and entry.tcp is not None:
        body += _tcp(entry.tcp)
    if entry.zone:
        body += a.be16(a.ZONE, entry.zone)
    return body


def _tcp(tcp: Tcp) -> bytes:
    inner = a.u8(a.TCP_STATE, tcp.state)
    if tcp.flags_orig & tcp.flags_reply & TcpFlag.WINDOW_SCALE:
        inner += a.u8(a.WSCALE_ORIG, tcp.wscale_orig) + a.u8(a.WSCALE_REPLY, tcp.wscale_reply)
    for kind, flags in ((a.FLAGS_ORIG, tcp.flags_orig), (a.FLAGS_REPLY, tcp.flags_reply)):
        inner += a.attribute(kind, bytes((flags & TRANSFERRED_FLAGS | TcpFlag.BE_LIBERAL, 0xFF)))
    return a.nested(a.PROTOINFO, a.nested(a.PROTOINFO_TCP, inner))
