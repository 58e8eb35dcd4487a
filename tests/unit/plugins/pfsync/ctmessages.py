"""Connections as the kernel tells them, and the records they have to become, both made from plain values."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from socket import AF_INET
from typing import Any

import numpy as np
from hypothesis import strategies as st

from appliance.net.conntrack import attributes as a
from appliance.net.conntrack.entry import ICMP, ICMPV6, TCP, WITH_PORTS, Entry, Group, Tcp, Tuple
from appliance_pfsync.flow import FLOW4, FLOW6, Flows, Op

OPS = {Group.NEW: Op.INSERT, Group.UPDATE: Op.UPDATE, Group.DESTROY: Op.DELETE}


def event(entry: Entry, *more: bytes, zone_within: bool = False) -> bytes:
    """What the kernel says about it, in the kernel's order; more attributes come first, where they disturb most."""
    body = b"".join(more)
    for kind, of in ((a.TUPLE_ORIG, entry.orig), (a.TUPLE_REPLY, entry.reply)):
        body += _tuple(kind, of, entry.zone if zone_within else 0)
    if entry.zone and not zone_within:
        body += a.be16(a.ZONE, entry.zone)
    body += a.be32(a.ID, entry.id) + a.be32(a.STATUS, entry.status)
    if entry.kind != Group.DESTROY:
        body += a.be32(a.TIMEOUT, entry.timeout)
    if entry.tcp is not None:
        body += _tcp(entry.tcp)
    if entry.mark:
        body += a.be32(a.MARK, entry.mark)
    if entry.labels:
        body += a.attribute(a.LABELS, entry.labels)
    kind = a.CT_DELETE if entry.kind == Group.DESTROY else a.CT_NEW
    flags = a.NLM_F_CREATE | a.NLM_F_EXCL if entry.kind == Group.NEW else 0
    header = a.HEADER.pack(a.BODY + len(body), kind, flags, 0, entry.port)
    return header + a.FAMILY.pack(entry.family, 0, 0) + body


def _tuple(kind: int, of: Tuple, zone: int) -> bytes:
    four = of.src.version == 4
    ip = a.attribute(a.IP_V4_SRC if four else a.IP_V6_SRC, of.src.packed)
    ip += a.attribute(a.IP_V4_DST if four else a.IP_V6_DST, of.dst.packed)
    proto = a.u8(a.PROTO_NUM, of.proto)
    if of.proto == ICMP:
        proto += a.be16(a.ICMP_ID, of.icmp_id) + a.u8(a.ICMP_TYPE, of.icmp_type) + a.u8(a.ICMP_CODE, of.icmp_code)
    elif of.proto == ICMPV6:
        proto += a.be16(a.ICMPV6_ID, of.icmp_id)
        proto += a.u8(a.ICMPV6_TYPE, of.icmp_type) + a.u8(a.ICMPV6_CODE, of.icmp_code)
    elif of.proto in WITH_PORTS:
        proto += a.be16(a.SRC_PORT, of.sport) + a.be16(a.DST_PORT, of.dport)
    within = (a.be16(3, zone),) if zone else ()
    return a.nested(kind, a.nested(a.TUPLE_IP, ip), a.nested(a.TUPLE_PROTO, proto), *within)


def _tcp(tcp: Tcp) -> bytes:
    inner = a.u8(a.TCP_STATE, tcp.state) + a.u8(a.WSCALE_ORIG, tcp.wscale_orig) + a.u8(a.WSCALE_REPLY, tcp.wscale_reply)
    inner += a.attribute(a.FLAGS_ORIG, bytes((tcp.flags_orig, 0)))
    inner += a.attribute(a.FLAGS_REPLY, bytes((tcp.flags_reply, 0)))
    return a.nested(a.PROTOINFO, a.nested(a.PROTOINFO_TCP, inner))


def record(entry: Entry, op: Op | None = None) -> Flows:
    """One record, field by field."""
    made = np.zeros(1, FLOW4 if entry.family == AF_INET else FLOW6)
    row = made[0]
    row["op"] = OPS[entry.kind] if op is None else op
    row["proto"] = entry.orig.proto
    for side, of in (("orig", entry.orig), ("reply", entry.reply)):
        for end, address in (("src", of.src), ("dst", of.dst)):
            row[f"{side}_{end}"] = int(address) if address.version == 4 else np.void(address.packed)
        is_echo = of.proto in (ICMP, ICMPV6)
        row[f"{side}_sport"] = of.icmp_id if is_echo else of.sport
        row[f"{side}_dport"] = of.icmp_type << 8 | of.icmp_code if is_echo else of.dport
    row["zone"], row["status"], row["mark"] = entry.zone, entry.status, entry.mark
    row["timeout"] = 0 if entry.kind == Group.DESTROY else entry.timeout
    if entry.tcp is not None:
        row["tcp_state"], row["wscale"] = entry.tcp.state, entry.tcp.wscale_orig << 4 | entry.tcp.wscale_reply
        row["tcp_flags_orig"], row["tcp_flags_reply"] = entry.tcp.flags_orig, entry.tcp.flags_reply
    if entry.labels:
        row["labels"] = np.void(entry.labels)
    return made


def connection(source: str, target: str, proto: int = TCP, **changes: Any) -> Entry:
    """An established connection of any kind, not translated."""
    orig = Tuple(ip_address(source), ip_address(target), proto)
    if proto in (ICMP, ICMPV6):
        orig = replace(orig, icmp_id=77, icmp_type=8 if proto == ICMP else 128)
    elif proto in WITH_PORTS:
        orig = replace(orig, sport=40000, dport=443)
    tcp = Tcp(3, 0x23, 0x23, 7, 10) if proto == TCP else None
    entry = Entry(orig=orig, reply=orig.inverse, status=0xE, timeout=1000, tcp=tcp, kind=Group.NEW)
    return replace(entry, **changes)


_bytes, _words = st.integers(0, 0xFF), st.integers(0, 0xFFFF_FFFF)
_shorts = st.integers(0, 0xFFFF)
_states = st.builds(Tcp, _bytes, _bytes, _bytes, st.integers(0, 15), st.integers(0, 15))


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    """Anything that the kernel could tell."""
    proto = draw(st.sampled_from([TCP, 17, ICMP, ICMPV6, 47, 132, 50]))
    versions = [6] if proto == ICMPV6 else [4] if proto == ICMP else [4, 6]
    addresses: st.SearchStrategy[Any] = st.ip_addresses(v=draw(st.sampled_from(versions)))

    def side() -> Tuple:
        of = Tuple(draw(addresses), draw(addresses), proto)
        if proto in (ICMP, ICMPV6):
            return replace(of, icmp_id=draw(_shorts), icmp_type=draw(_bytes), icmp_code=draw(_bytes))
        return replace(of, sport=draw(_shorts), dport=draw(_shorts)) if proto in WITH_PORTS else of

    return Entry(
        orig=side(),
        reply=side(),
        status=draw(_words),
        timeout=draw(_words),
        mark=draw(st.just(0) | _words),
        zone=draw(st.just(0) | _shorts),
        tcp=draw(st.none() | _states) if proto == TCP else None,
        labels=draw(st.just(b"") | st.binary(min_size=16, max_size=16)),
        id=draw(_words),
        kind=draw(st.sampled_from(Group)),
        port=draw(st.just(0) | _words),
    )
