"""Connections that the tests put into a kernel, and how they look when one takes the messages apart."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from appliance.net.conntrack import Entry, Injector, Tcp, Tuple
from appliance.net.conntrack.attributes import HEADER
from appliance.net.conntrack.entry import ICMP, ICMPV6, TCP, UDP, Status
from appliance.net.conntrack.messages import build_create, parse

SEEN = Status.SEEN_REPLY | Status.ASSURED
CLIENT, SERVER, OUTSIDE, INSIDE = map(ip_address, ("10.0.0.1", "192.0.2.9", "198.51.100.1", "172.16.0.5"))
CLIENT6, SERVER6, OUTSIDE6 = map(ip_address, ("fd00::1", "fd00::9", "fd00::99"))


def connection(number: int = 0, proto: int = TCP) -> Entry:
    """Plain connections that differ from each other."""
    orig = Tuple(ip_address(int(CLIENT) + number // 50000), SERVER, proto, 10000 + number % 50000, 80)
    return established(orig, orig.inverse)


def established(orig: Tuple, reply: Tuple) -> Entry:
    return Entry(
        orig=orig, reply=reply, status=SEEN, timeout=300, tcp=Tcp(3, 1, 1, 7, 10) if orig.proto == TCP else None
    )


def translated() -> dict[str, Entry]:
    """One connection of every kind, by a name for it."""
    tcp = Tuple(CLIENT, SERVER, TCP, 40000, 443)
    udp = Tuple(CLIENT, SERVER, UDP, 40000, 53)
    ping = Tuple(CLIENT, SERVER, ICMP, icmp_id=7, icmp_type=8)
    tcp6, ping6 = Tuple(CLIENT6, SERVER6, TCP, 40000, 443), Tuple(CLIENT6, SERVER6, ICMPV6, icmp_id=7, icmp_type=128)
    return {
        "tcp": established(tcp, tcp.inverse),
        "tcp, source": established(replace(tcp, sport=1), Tuple(SERVER, OUTSIDE, TCP, 443, 1024)),
        "tcp, destination": established(replace(tcp, sport=2), Tuple(INSIDE, CLIENT, TCP, 8443, 2)),
        "tcp, both": established(replace(tcp, sport=3), Tuple(INSIDE, OUTSIDE, TCP, 8443, 1026)),
        "udp, source": established(udp, Tuple(SERVER, OUTSIDE, UDP, 53, 1024)),
        "icmp, source": established(ping, replace(ping.inverse, dst=OUTSIDE, icmp_id=700)),
        "tcp6": established(replace(tcp6, sport=1), replace(tcp6, sport=1).inverse),
        "tcp6, source": established(tcp6, Tuple(SERVER6, OUTSIDE6, TCP, 443, 1024)),
        "icmp6, source": established(ping6, replace(ping6.inverse, dst=OUTSIDE6, icmp_id=700)),
        "udp6": established(Tuple(CLIENT6, SERVER6, UDP, 1, 53), Tuple(SERVER6, CLIENT6, UDP, 53, 1)),
    }


def create(injector: Injector, entries: list[Entry]) -> list[tuple[int, int]]:
    return injector.send(b"".join(build_create(entry, seq) for seq, entry in enumerate(entries)), len(entries))


def messages(data: bytes) -> list[bytes]:
    """Netlink messages that follow each other."""
    found = []
    while data:
        length = HEADER.unpack_from(data)[0]
        assert 0 < length <= len(data)
        found.append(data[:length])
        data = data[(length + 3) & ~3 :]
    return found


def parsed(data: bytes) -> list[Entry]:
    return [parse(message) for message in messages(data)]
