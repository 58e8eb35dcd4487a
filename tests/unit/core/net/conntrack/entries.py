"""Entries as hypothesis imagines them, and the messages in which a kernel would tell of them."""

from __future__ import annotations

import sys
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from hypothesis import strategies as st

from appliance.net.conntrack import attributes as a
from appliance.net.conntrack.entry import ICMP, ICMPV6, TCP, WITH_PORTS, Address, Entry, Group, Tcp, Tuple

PORTS = st.integers(0, 0xFFFF)
BYTES = st.integers(0, 0xFF)
WORDS = st.integers(0, 0xFFFFFFFF)
ECHO = {ICMP: 8, ICMPV6: 128}
WITHOUT_PORTS = 50


def addresses(version: int) -> st.SearchStrategy[Address]:
    return WORDS.map(IPv4Address) if version == 4 else st.integers(0, 2**128 - 1).map(IPv6Address)


@st.composite
def tuples(draw: st.DrawFn) -> Tuple:
    version = draw(st.sampled_from([4, 6]))
    proto = draw(st.sampled_from([*sorted(WITH_PORTS), ICMP if version == 4 else ICMPV6, WITHOUT_PORTS]))
    plain = Tuple(draw(addresses(version)), draw(addresses(version)), proto)
    if proto in WITH_PORTS:
        return replace(plain, sport=draw(PORTS), dport=draw(PORTS))
    if proto in ECHO:
        return replace(plain, icmp_id=draw(PORTS), icmp_type=ECHO[proto], icmp_code=draw(BYTES))
    return plain


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    """Any entry, translated or not."""
    orig = draw(tuples())
    reply = orig.inverse
    if draw(st.booleans()):
        reply = replace(reply, dst=draw(addresses(orig.src.version)))
        reply = replace(reply, dport=draw(PORTS)) if orig.proto in WITH_PORTS else reply
        reply = replace(reply, icmp_id=draw(PORTS)) if orig.proto in ECHO else reply
    if draw(st.booleans()):
        reply = replace(reply, src=draw(addresses(orig.src.version)))
        reply = replace(reply, sport=draw(PORTS)) if orig.proto in WITH_PORTS else reply
    shift = st.integers(0, 14)
    return Entry(
        orig=orig,
        reply=reply,
        status=draw(WORDS),
        timeout=draw(WORDS),
        mark=draw(WORDS),
        zone=draw(PORTS),
        tcp=Tcp(draw(st.integers(0, 9)), draw(BYTES), draw(BYTES), draw(shift), draw(shift))
        if orig.proto == TCP
        else None,
        labels=draw(st.binary(min_size=16, max_size=16) | st.just(b"")),
        id=draw(WORDS),
        kind=draw(st.sampled_from(Group)),
        port=draw(WORDS),
    )


def told(entry: Entry) -> bytes:
    """The message of a kernel about an entry."""
    kind = a.CT_DELETE if entry.kind is Group.DESTROY else a.CT_NEW
    flags = a.NLM_F_CREATE if entry.kind is Group.NEW else 0
    body = _tuple(a.TUPLE_ORIG, entry.orig) + _tuple(a.TUPLE_REPLY, entry.reply)
    body += a.be32(a.STATUS, entry.status) + a.be32(a.TIMEOUT, entry.timeout)
    if entry.tcp is not None:
        tcp = entry.tcp
        inner = a.u8(a.TCP_STATE, tcp.state) + a.u8(a.WSCALE_ORIG, tcp.wscale_orig)
        inner += a.u8(a.WSCALE_REPLY, tcp.wscale_reply)
        inner += a.attribute(a.FLAGS_ORIG, bytes((tcp.flags_orig, 0)))
        inner += a.attribute(a.FLAGS_REPLY, bytes((tcp.flags_reply, 0)))
        body += a.nested(a.PROTOINFO, a.nested(a.PROTOINFO_TCP, inner))
    body += a.be32(a.MARK, entry.mark) + a.be16(a.ZONE, entry.zone) + a.be32(a.ID, entry.id)
    body += a.attribute(a.LABELS, entry.labels) if entry.labels else b""
    message = bytearray(a.message(kind, flags, entry.family, body, 0))
    message[12:16] = entry.port.to_bytes(4, sys.byteorder)
    return bytes(message)


def _tuple(kind: int, of: Tuple) -> bytes:
    v4 = of.src.version == 4
    ip = a.attribute(a.IP_V4_SRC if v4 else a.IP_V6_SRC, of.src.packed)
    ip += a.attribute(a.IP_V4_DST if v4 else a.IP_V6_DST, of.dst.packed)
    proto = a.u8(a.PROTO_NUM, of.proto)
    if of.proto in WITH_PORTS:
        proto += a.be16(a.SRC_PORT, of.sport) + a.be16(a.DST_PORT, of.dport)
    if of.proto in ECHO:
        first = a.ICMP_ID if of.proto == ICMP else a.ICMPV6_ID
        proto += a.be16(first, of.icmp_id) + a.u8(first + 1, of.icmp_type) + a.u8(first + 2, of.icmp_code)
    return a.nested(kind, a.nested(a.TUPLE_IP, ip), a.nested(a.TUPLE_PROTO, proto))
