"""Flows for these tests, told as people tell them."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from appliance_pfsync.bsd.records import Record
from appliance_pfsync.flow import ICMP, TCP, UDP, Op, Status, TcpState

ANSWERED = Status.CONFIRMED | Status.SEEN_REPLY | Status.ASSURED


def packed(address: str) -> bytes:
    return ip_address(address).packed


def flow(orig: tuple[str, int, str, int], reply: tuple[str, int, str, int] | None = None, **values: Any) -> Record:
    """A flow from its tuples; without the second one it is not translated."""
    src, sport, dst, dport = orig
    if reply is None:
        reply = (dst, dport, src, sport)
    fields: dict[str, Any] = {"op": Op.INSERT, "proto": TCP, "zone": 0, "status": ANSWERED, "timeout": 600}
    if values.get("proto", TCP) == TCP:
        fields |= {"tcp_state": TcpState.ESTABLISHED, "tcp_flags_orig": 8, "tcp_flags_reply": 8}
    fields |= {
        "orig_src": packed(src), "orig_dst": packed(dst), "orig_sport": sport, "orig_dport": dport,
        "reply_src": packed(reply[0]), "reply_dst": packed(reply[2]), "reply_sport": reply[1], "reply_dport": reply[3],
    }  # fmt: skip
    return Record(**fields | values)


def snat(client_port: int = 40001, outer_port: int = 5001, **values: Any) -> Record:
    """10.1.0.5 -> 203.0.113.9:443, seen there as 198.51.100.7."""
    orig = ("10.1.0.5", client_port, "203.0.113.9", 443)
    reply = ("203.0.113.9", 443, "198.51.100.7", outer_port)
    return flow(orig, reply, **{"status": ANSWERED | Status.SRC_NAT} | values)


def dnat(**values: Any) -> Record:
    orig, reply = ("203.0.113.50", 3333, "198.51.100.7", 80), ("10.1.0.80", 8080, "203.0.113.50", 3333)
    return flow(orig, reply, **{"status": ANSWERED | Status.DST_NAT, "timeout": 86400} | values)


def udp(port: int = 5353, **values: Any) -> Record:
    return flow(("192.0.2.10", port, "192.0.2.53", 53), **{"proto": UDP, "timeout": 60} | values)


def ping(**values: Any) -> Record:
    values = {"status": Status.CONFIRMED | Status.SEEN_REPLY, "timeout": 10} | values
    return flow(("10.1.0.5", 77, "203.0.113.9", 8 << 8), ("203.0.113.9", 77, "10.1.0.5", 0), proto=ICMP, **values)
