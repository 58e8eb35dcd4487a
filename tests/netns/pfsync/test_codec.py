"""The vectorised codec against a real kernel: what is created is what is listed, and real traffic decodes."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address

import numpy as np
import pytest

from appliance.net.conntrack import Asker, Dump, Entry, EventSocket, Group, Injector
from appliance.net.conntrack.entry import ICMP, ICMPV6, TCP, Status
from appliance.net.conntrack.messages import parse
from appliance.testing import LabNode, Netlab
from appliance_pfsync import encode
from appliance_pfsync.decode import TOGETHER_MIN, Batch, Decoder
from appliance_pfsync.flow import FLOW4, FLOW6, UDP, Flows, Op
from tests.unit.plugins.pfsync.ctmessages import connection, record

pytestmark = pytest.mark.netns

FOUR, VIP4, BEHIND4 = ("10.0.0.1", "192.0.2.9"), "198.51.100.1", "172.16.0.5"
SIX, VIP6, BEHIND6 = ("fd00::1", "fd00::9"), "fd00::99", "fd00::5"
CONTENT = (
    *("proto", "zone", "orig_src", "orig_dst", "orig_sport", "orig_dport"),
    *("reply_src", "reply_dst", "reply_sport", "reply_dport", "mark", "tcp_state", "wscale", "labels"),
)
NAT_CHAINS = """
table inet t {
  chain post { type nat hook postrouting priority srcnat; }
  chain labels { ct label set 1; }
}
"""
ROUTER = """
table inet t {
  chain post { type nat hook postrouting priority srcnat; ip saddr 10.1.0.2 snat ip to 10.2.0.9; ip6 saddr fd01::2 snat ip6 to fd02::9; }
  chain pre { type nat hook prerouting priority dstnat; tcp dport 8000 dnat ip to 10.2.0.2:7000; }
  chain forward { type filter hook forward priority filter; ct mark set 7; }
}
"""  # noqa: E501


def load(node: LabNode, rules: str) -> None:
    node.inside(lambda: subprocess.run(["nft", "-f", "-"], input=rules, text=True, timeout=10, check=True))


def entries() -> list[Entry]:
    """Connections of every kind, with every translation."""
    found = []
    for proto in (TCP, UDP, ICMP, 132, 50):
        found += [translated(connection(*FOUR, proto), how) for how in ("", "s", "d", "sd")]
    for proto in (TCP, UDP, ICMPV6):
        found += [translated(connection(*SIX, proto), how) for how in ("", "s", "d", "sd")]
    found += [replace(each, zone=zone, mark=zone << 16) for zone in (1, 2) for each in found]
    return [replace(each, labels=bytes([2, *bytes(14), 128])) if each.mark else each for each in found]


def translated(entry: Entry, how: str) -> Entry:
    """Through a source (s) and a destination (d) translation; distinct connections for each."""
    four = entry.orig.src.version == 4
    number = 1 + len(how) + ("d" in how) * 3
    orig = replace(entry.orig, src=entry.orig.src + number)
    reply = orig.inverse
    has_ports = orig.proto in (TCP, UDP, 132)
    if "s" in how:
        reply = replace(reply, dst=ip_address(VIP4 if four else VIP6) + number, dport=5001 if has_ports else 0)
        if orig.proto in (ICMP, ICMPV6):
            reply = replace(reply, icmp_id=700 + number)
    if "d" in how:
        reply = replace(reply, src=ip_address(BEHIND4 if four else BEHIND6) + number, sport=8443 if has_ports else 0)
    return replace(entry, orig=orig, reply=reply)


def records(of: list[Entry]) -> tuple[Flows, Flows]:
    four = [record(each) for each in of if each.orig.src.version == 4]
    six = [record(each) for each in of if each.orig.src.version == 6]
    return np.concatenate([np.zeros(0, FLOW4), *four], dtype=FLOW4), np.concatenate(
        [np.zeros(0, FLOW6), *six], dtype=FLOW6
    )


def listed(node: LabNode) -> Batch:
    with node.inside(Dump) as dump:
        return Decoder().decode(b"".join(iter(lambda: dump.read(1 << 17), b"")), dump=True)


def content(flows: Flows) -> list[tuple[bytes, ...]]:
    return sorted(tuple(each[name].tobytes() for name in CONTENT) for each in flows)


@pytest.fixture
def standby(netlab: Netlab) -> LabNode:
    """A firewall that knows how to translate, without traffic."""
    node = netlab.node("standby")
    load(node, NAT_CHAINS)
    return node


def test_what_is_created_is_what_is_listed(standby: LabNode) -> None:
    four, six = records(entries())
    with standby.inside(Injector) as injector:
        for flows in (four, six):
            assert injector.send(encode.encode_create(flows, 0, extra_timeout=5), len(flows)) == []
    batch = listed(standby)
    assert (batch.skipped, batch.unsupported) == (0, 0)
    for given, found in ((four, batch.flows4), (six, batch.flows6)):
        assert content(found) == content(given)
        assert (found["op"] == Op.INSERT).all()
        assert (found["status"] & 0xE == 0xE).all()
        assert (np.abs(found["timeout"].astype(int) - 1005) <= 3).all()
        tcp = found[found["proto"] == TCP]
        assert (tcp["tcp_flags_orig"] == 0x0B).all()
        assert (tcp["tcp_flags_reply"] == 0x0B).all()


def test_errors_name_the_rows_that_failed(standby: LabNode) -> None:
    four, _ = records(entries())
    with standby.inside(Injector) as injector:
        some = four[::3]
        assert injector.send(encode.encode_create(some, 0), len(some)) == []
        expected = [(row, errno.EEXIST) for row in range(0, len(four), 3)]
        assert injector.send(encode.encode_create(four, 0), len(four)) == expected
        assert injector.send(encode.encode_delete(four[:9], 0), 9) == []
        assert injector.send(encode.encode_delete(four[:9], 0), 9) == [(row, errno.ENOENT) for row in range(9)]
        rest = [(row, errno.ENOENT) for row in range(9)]
        assert injector.send(encode.encode_delete(four, 0, by_reply=True), len(four)) == rest
    assert not len(listed(standby).flows4)


def test_a_change_changes_everything_that_may_change(standby: LabNode) -> None:
    four, six = records(entries())
    early = four.copy()
    early["status"], early["timeout"], early["mark"], early["tcp_state"] = Status.CONFIRMED, 20, 99, 1
    early["tcp_state"][early["proto"] != TCP] = 0
    with standby.inside(Injector) as injector:
        assert injector.send(encode.encode_create(early, 0), len(early)) == []
        assert injector.send(encode.encode_update(four, 0), len(four)) == []
        assert injector.send(encode.encode_update(six, 0), len(six)) == [(n, errno.ENOENT) for n in range(len(six))]
        found = listed(standby).flows4
        assert content(found) == content(four)
        assert (found["status"] & 0xE == 0xE).all()
        unknown = four.copy()
        unknown["tcp_state"] = 0
        unknown["status"] = 0  # nothing that could be taken back
        assert injector.send(encode.encode_update(unknown, 0), len(four)) == []
        assert content(listed(standby).flows4) == content(four)
        unknown["status"] = Status.SEEN_REPLY
        refused = [(row, errno.EBUSY) for row in range(len(four))]
        assert injector.send(encode.encode_update(unknown, 0), len(four)) == refused


def test_a_copy_with_another_translation_is_not_changed(standby: LabNode) -> None:
    four, _ = records([translated(connection(*FOUR, proto), "s") for proto in (TCP, UDP)])
    other = four.copy()
    other["reply_dport"] = 6000
    with standby.inside(Injector) as injector:
        assert injector.send(encode.encode_create(other, 0), 2) == []
        assert injector.send(encode.encode_update(four, 0), 2) == [(0, errno.ENOENT), (1, errno.ENOENT)]


def test_asking_finds_those_that_exist(standby: LabNode) -> None:
    four, six = records(entries())
    with standby.inside(Injector) as injector, standby.inside(Asker) as asker:
        assert injector.send(encode.encode_create(four[1::2], 0), len(four[1::2])) == []
        answer = Decoder().decode(asker.ask(encode.encode_get(four, 0), len(four)), dump=True)
        assert content(answer.flows4) == content(four[1::2])
        assert not asker.ask(encode.encode_get(six, 0), len(six))


# --- real traffic ------------------------------------------------------------------------------------------------


class Path:
    """A client, a translating router and a server."""

    def __init__(self, lab: Netlab) -> None:
        self.client, self.router, self.server = (lab.node(name) for name in ("client", "router", "server"))
        lab.connect(self.client, self.router, "left", ["10.1.0.2/24", "fd01::2/64"])
        lab.connect(self.server, self.router, "right", ["10.2.0.2/24", "fd02::2/64"])
        lab.address(self.router, "left", ["10.1.0.1/24", "fd01::1/64"])
        lab.address(self.router, "right", ["10.2.0.1/24", "10.2.0.9/24", "fd02::1/64", "fd02::9/64"])
        self.client.run("ip", "route", "add", "default", "via", "10.1.0.1")
        self.client.run("ip", "route", "add", "default", "via", "fd01::1")
        self.router.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        load(self.router, ROUTER)

    def talk(self, count: int) -> None:
        """Some connections of every kind, from beginning to end, all answered."""
        for family, server in ((socket.AF_INET, "10.2.0.2"), (socket.AF_INET6, "fd02::2")):
            self._ping(server)
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with self._answering(family, kind) as (port, answer):
                    for number in range(count):
                        to = ("10.2.0.9", 8000) if kind == socket.SOCK_STREAM and number == 1 else (server, port)
                        if to[1] == 8000 and family == socket.AF_INET6:
                            continue
                        with self.client.socket(family, kind) as sock:
                            sock.settimeout(5)
                            sock.connect(to)
                            sock.send(b"question")
                            answer()
                            assert sock.recv(100) == b"answer"

    def _ping(self, server: str) -> None:
        self.client.run("ping", "-c", "1", "-W", "5", server)

    @contextlib.contextmanager
    def _answering(self, family: int, kind: int) -> Iterator[tuple[int, Callable[[], None]]]:
        with self.server.socket(family, kind) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.settimeout(5)
            sock.bind(("", 7000))

            def stream() -> None:
                connected, _ = sock.accept()
                with connected:
                    assert connected.recv(100) == b"question"
                    connected.send(b"answer")

            def datagram() -> None:
                _, source = sock.recvfrom(100)
                sock.sendto(b"answer", source)

            if kind == socket.SOCK_STREAM:
                sock.listen()
            yield 7000, stream if kind == socket.SOCK_STREAM else datagram


def every_message(data: bytes) -> Iterator[bytes]:
    while data:
        length = struct.unpack_from("=I", data)[0]
        yield data[:length]
        data = data[length:]


def test_events_and_dumps_of_translated_traffic_are_what_the_reference_says(netlab: Netlab) -> None:
    path = Path(netlab)
    groups = (Group.NEW, Group.UPDATE, Group.DESTROY)
    with path.router.inside(lambda: EventSocket(groups)) as events:
        path.talk(TOGETHER_MIN + 4)
        with path.router.inside(Dump) as dump:
            table = b"".join(iter(lambda: dump.read(1 << 17), b""))
        path.router.run("conntrack", "-F")
        time.sleep(0.2)
        told = b"".join(iter(lambda: events.drain(1024), b""))
    assert_like_the_reference(told, dump=False)
    assert_like_the_reference(table, dump=True)
    batch = Decoder().decode(told)
    assert {Op(op) for op in batch.flows4["op"].tolist()} == {Op.INSERT, Op.UPDATE, Op.DELETE}
    assert set(batch.flows4["proto"].tolist()) >= {TCP, UDP, ICMP}
    assert set(batch.flows6["proto"].tolist()) >= {TCP, UDP, ICMPV6}
    from_client = batch.flows4[batch.flows4["orig_src"] == int(ip_address("10.1.0.2"))]
    assert (from_client["reply_dst"] == int(ip_address("10.2.0.9"))).all()
    forwarded = from_client[from_client["orig_dport"] == 8000]
    assert set(forwarded["reply_sport"].tolist()) == {7000}


def assert_like_the_reference(data: bytes, *, dump: bool) -> None:
    parsed = [parse(each) for each in every_message(data)]
    four, six = records(parsed)
    batch = Decoder().decode(data, dump=dump)
    assert (batch.skipped, batch.unsupported) == (0, 0)
    assert batch.pids4.tolist() == [each.port for each in parsed if each.orig.src.version == 4]
    for ours, theirs, version in ((batch.flows4, four, 4), (batch.flows6, six, 6)):
        theirs["timeout"] = [each.timeout for each in parsed if each.orig.src.version == version]
        if dump:
            theirs["op"] = Op.INSERT
        assert ours.tobytes() == theirs.tobytes()
    assert len(batch.flows4) > TOGETHER_MIN
    assert len(batch.flows6) > TOGETHER_MIN
