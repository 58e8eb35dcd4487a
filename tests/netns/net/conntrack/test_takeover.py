"""Connections go on through a kernel that has never seen them, once their entries are in it."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
from collections.abc import Iterator

import pytest

from appliance.net.conntrack import Dump, Entry, Injector
from appliance.net.conntrack.entry import TCP
from appliance.testing import LabNode, Netlab
from tests.netns.net.conntrack.connections import create, parsed

pytestmark = pytest.mark.netns

CONNECTIONS = 12
"""Sequence numbers are random: what goes wrong in half of them goes wrong in one of these."""
PATIENCE_S = 5
NO_ANSWER_S = 0.3
KNOWN_ONLY = "chain forward { type filter hook forward priority 0; policy drop; ct state established accept; }"
OWNER = """
table inet t {
  chain post { type nat hook postrouting priority 100; ip saddr 10.1.0.2 snat ip to 10.2.0.9; ip6 saddr fd01::2 snat ip6 to fd02::9; }
  chain pre { type nat hook prerouting priority -100; tcp dport 8000 dnat ip to 10.2.0.2:7000; }
  chain forward { type filter hook forward priority 0; policy accept; ct state invalid drop; }
}
"""  # noqa: E501


class Path:
    """A client, a router and a server; `owner` and then `standby` are what the router is."""

    def __init__(self, lab: Netlab) -> None:
        self.client, self.router, self.server = (lab.node(name) for name in ("client", "router", "server"))
        lab.connect(self.client, self.router, "left", ["10.1.0.2/24", "fd01::2/64"])
        lab.connect(self.server, self.router, "right", ["10.2.0.2/24", "fd02::2/64"])
        lab.address(self.router, "left", ["10.1.0.1/24", "fd01::1/64"])
        lab.address(self.router, "right", ["10.2.0.1/24", "10.2.0.9/24", "fd02::1/64", "fd02::9/64"])
        self.client.run("ip", "route", "add", "default", "via", "10.1.0.1")
        self.client.run("ip", "route", "add", "default", "via", "fd01::1")
        self.router.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")

    def owner(self) -> None:
        load(self.router, OWNER)

    def standby(self) -> list[Entry]:
        """Forget everything; what was known."""
        with self.router.inside(Dump) as dump:
            known = parsed(dump.read(1 << 20))
        load(self.router, f"flush ruleset\ntable inet t {{\n{KNOWN_ONLY}\n}}\n")
        self.router.run("conntrack", "-F")
        self.router.run("sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_loose=0")
        return [entry for entry in known if entry.orig.proto == TCP]

    def take_over(self, entries: list[Entry]) -> None:
        load(self.router, "table inet n { chain empty { type nat hook postrouting priority srcnat; }\n}\n")
        with self.router.inside(Injector) as injector:
            assert create(injector, entries) == []


@pytest.fixture
def path(netlab: Netlab) -> Path:
    return Path(netlab)


def load(node: LabNode, rules: str) -> None:
    node.inside(lambda: subprocess.run(["nft", "-f", "-"], input=rules, text=True, timeout=10, check=True))


@contextlib.contextmanager
def connected(path: Path, family: int, to: str, port: int) -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    """Some connections, as ``(client, server)``."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(path.server.socket(family, socket.SOCK_STREAM))
        listener.bind(("", 7000))
        listener.listen(CONNECTIONS)
        pairs = []
        for _ in range(CONNECTIONS):
            near = stack.enter_context(path.client.socket(family, socket.SOCK_STREAM))
            near.settimeout(PATIENCE_S)
            near.connect((to, port))
            far = stack.enter_context(listener.accept()[0])
            far.settimeout(PATIENCE_S)
            pairs.append((near, far))
        for near, far in pairs:
            answers(near, far)
        yield pairs


def answers(near: socket.socket, far: socket.socket) -> None:
    """Both directions carry data."""
    near.sendall(b"question")
    assert far.recv(100) == b"question"
    far.sendall(b"answer")
    assert near.recv(100) == b"answer"


def is_reset(connection: socket.socket) -> bool:
    try:
        connection.recv(100)
    except OSError as error:
        return isinstance(error, ConnectionResetError)
    return False


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize(
    ("family", "to", "port"),
    [
        pytest.param(socket.AF_INET, "10.2.0.2", 7000, id="source translated"),
        pytest.param(socket.AF_INET, "10.2.0.50", 8000, id="both translated"),
        pytest.param(socket.AF_INET6, "fd02::2", 7000, id="IPv6, source translated"),
    ],
)
def test_translated_connections_go_on_and_can_be_reset(path: Path, family: int, to: str, port: int) -> None:
    path.owner()
    with connected(path, family, to, port) as pairs:
        entries = path.standby()
        assert len(entries) == CONNECTIONS
        near, far = pairs[0]
        far.settimeout(NO_ANSWER_S)
        near.sendall(b"lost")
        with pytest.raises(TimeoutError):
            far.recv(100)
        path.take_over(entries)
        far.settimeout(PATIENCE_S)
        assert far.recv(100) == b"lost"  # sent again, and translated now
        for near, far in pairs[1:]:
            answers(near, far)
        for near, _ in pairs:
            reset(near)
        assert [is_reset(far) for _, far in pairs] == [True] * CONNECTIONS


def test_a_reset_right_after_the_takeover_is_let_through(path: Path) -> None:
    path.owner()
    with connected(path, socket.AF_INET, "10.2.0.2", 7000) as pairs:
        path.take_over(path.standby())
        for _, far in pairs:
            reset(far)
        assert [is_reset(near) for near, _ in pairs] == [True] * CONNECTIONS
