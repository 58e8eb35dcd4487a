"""Deferral on a real kernel: packets that wait in it, and a connection that takes another way back."""

from __future__ import annotations

import json
import select
import socket
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing
from ipaddress import ip_address
from typing import Any

import pytest
import trio

from appliance.net import nft
from appliance.net.fastpath import SystemCallError
from appliance.net.nfqueue import PacketQueue
from appliance.testing import LabNode, Netlab
from appliance_pfsync import defer, ruleset
from appliance_pfsync.defer import DEFER_S, QUEUE, Defer
from appliance_pfsync.filters import LocalAddresses
from appliance_pfsync.flow import UDP, Flows, Op, Status, TcpState
from appliance_pfsync.kernel import KernelTable
from tests.unit.plugins.pfsync.deferred import FakeProtocol

pytestmark = pytest.mark.netns

CLIENT, SERVER, VIP = "10.0.0.9", "192.0.2.9", "192.0.2.1"
CLIENT6, SERVER6 = "2001:db8:1::9", "2001:db8:2::9"
PORT = 5300
SOON_S = 5.0
NEVER_S = 0.1
SNAT = f"ip saddr {CLIENT} snat ip to {VIP}"
STRICT = "ct state invalid drop; ct state new tcp flags & (syn|ack) != syn drop"


def carry_out(node: LabNode, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Load rules in the node; children of trio's own threads would be in whatever namespace those were made in."""

    async def apply(rules: nft.Ruleset) -> None:
        given = json.dumps(rules).encode()
        node.inside(lambda: subprocess.run(["nft", "-j", "-f", "-"], input=given, check=True, timeout=20))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nft, "apply", apply)
        trio.run(work)


@pytest.fixture(autouse=True)
def _needs_the_queue(netlab: Netlab) -> None:
    node = netlab.node("trial")
    try:
        with node.inside(lambda: PacketQueue(QUEUE)):
            node.run("nft", "add table t; add chain t c; add rule t c queue num 1")
    except (SystemCallError, AssertionError) as error:
        pytest.fail(f"needs a kernel with NFT_QUEUE and NETFILTER_NETLINK_GLUE_CT, as Debian's: {error}", pytrace=False)


class Path:
    """client — firewalls — server. The first one is the way there, the last one the way back."""

    def __init__(self, netlab: Netlab, firewalls: int = 1) -> None:
        self.client, self.server = netlab.node("client"), netlab.node("server")
        self.firewalls = [netlab.node(f"fw{number}") for number in range(firewalls)]
        lan, wan = netlab.switch("lan"), netlab.switch("wan")
        netlab.connect(self.client, lan, "eth0", [f"{CLIENT}/24", f"{CLIENT6}/64"])
        netlab.connect(self.server, wan, "eth0", [f"{SERVER}/24", f"{SERVER6}/64"])
        for number, node in enumerate(self.firewalls, 1):
            netlab.connect(node, lan, "lan", [f"10.0.0.{number}/24", f"2001:db8:1::{number}/64"])
            netlab.connect(node, wan, "wan", [f"192.0.2.{number}/24", f"2001:db8:2::{number}/64"])
            for name in ("ipv4.ip_forward", "ipv6.conf.all.forwarding"):
                node.run("sysctl", "-qw", f"net.{name}=1")
            carry_out(node, ruleset.load)
        self.client.run("ip", "route", "add", "default", "via", "10.0.0.1")
        self.client.run("ip", "route", "add", "default", "via", "2001:db8:1::1")
        self.server.run("ip", "route", "add", "default", "via", f"192.0.2.{firewalls}")
        self.server.run("ip", "route", "add", "default", "via", f"2001:db8:2::{firewalls}")
        self._warm_up()

    def _warm_up(self) -> None:
        """Neighbours are known afterwards, so that what is late later was held."""
        for node in self.firewalls:
            for address in (CLIENT, SERVER, CLIENT6, SERVER6):
                node.run("ping", "-c1", "-W2", address)
        self.client.run("ping", "-c1", "-W2", "10.0.0.1")
        self.server.run("ping", "-c1", "-W2", f"192.0.2.{len(self.firewalls)}")

    @property
    def fw(self) -> LabNode:
        return self.firewalls[0]

    def filter(self, node: LabNode, rules: str) -> None:
        node.run("nft", f"add table inet t; add chain inet t f {{ type filter hook forward priority 0; {rules}; }}")

    def translate(self, rule: str) -> None:
        self.fw.run(
            "nft", f"add table inet t; add chain inet t n {{ type nat hook postrouting priority 100; {rule}; }}"
        )


@pytest.fixture
def path(netlab: Netlab) -> Path:
    return Path(netlab)


@pytest.fixture
def queue(path: Path) -> Iterator[PacketQueue]:
    with path.fw.inside(lambda: PacketQueue(QUEUE)) as made:
        carry_out(path.fw, defer.load)
        yield made


@pytest.fixture
def far(path: Path) -> Iterator[socket.socket]:
    """A UDP socket of the server."""
    with path.server.socket(socket.AF_INET6) as made:
        made.bind(("::", PORT))
        yield made


def send(node: LabNode, text: bytes, to: str = SERVER, port: int = PORT) -> None:
    """A new flow of one datagram."""
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    with node.socket(family) as made:
        made.sendto(text, (to, port))


def is_readable(waiter: socket.socket | PacketQueue, within_s: float) -> bool:
    return bool(select.select([waiter], [], [], within_s)[0])


def received(far: socket.socket, count: int) -> list[bytes]:
    found: list[bytes] = []
    while len(found) < count and is_readable(far, SOON_S):
        found.append(far.recv(100))
    assert not is_readable(far, NEVER_S)
    return found


def drained(queue: PacketQueue, count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count and is_readable(queue, SOON_S):
        found += [number for number, _ in queue.drain(100)]
    return found


def address(text: str) -> int:
    return int(ip_address(text))


def test_forwarded_packets_are_held_until_they_are_accepted_and_keep_their_order(
    path: Path, queue: PacketQueue, far: socket.socket
) -> None:
    texts = [b"%d" % number for number in range(20)]
    for text in texts:
        send(path.client, text)
    held = drained(queue, len(texts))
    assert len(held) == len(texts)
    assert not is_readable(far, NEVER_S)
    queue.accept(held)
    assert received(far, len(texts)) == texts


def test_what_the_node_says_itself_and_answers_and_known_flows_are_not_held(
    path: Path, queue: PacketQueue, far: socket.socket
) -> None:
    send(path.fw, b"own")
    with path.client.socket() as near:
        near.sendto(b"first", (SERVER, PORT))
        queue.accept(drained(queue, 1))
        near.sendto(b"second", (SERVER, PORT))
        assert received(far, 3) == [b"own", b"first", b"second"]
        far.sendto(b"answer", (f"::ffff:{CLIENT}", near.getsockname()[1]))
        assert is_readable(near, SOON_S)
    assert not is_readable(queue, 0)


def test_nobody_listens_so_everything_passes(path: Path, queue: PacketQueue, far: socket.socket) -> None:
    send(path.client, b"held")
    assert len(drained(queue, 1)) == 1
    queue.close()
    send(path.client, b"passes")
    assert received(far, 1) == [b"passes"], "the kernel drops what is held when the socket closes"


def test_the_record_of_a_flow_through_snat_has_the_translated_reply(
    path: Path, queue: PacketQueue, far: socket.socket
) -> None:
    path.translate(SNAT)
    protocol, deferral = FakeProtocol(), Defer(queue)
    with path.client.socket() as near:
        near.sendto(b"x", (SERVER, PORT))
        source = near.getsockname()[1]
        assert is_readable(queue, SOON_S)
        assert deferral.take(protocol, LocalAddresses([VIP, "10.0.0.1"]), 0.0)
        [flow] = protocol.offered[0]
        assert (flow["op"], flow["proto"], flow["orig_src"], flow["orig_sport"]) == (
            Op.INSERT,
            UDP,
            address(CLIENT),
            source,
        )
        assert (flow["reply_src"], flow["reply_sport"]) == (address(SERVER), PORT)
        assert (flow["reply_dst"], flow["reply_dport"]) == (address(VIP), source)
        assert not flow["status"] & (Status.SEEN_REPLY | Status.ASSURED)
        assert flow["timeout"] == 30, "of a new flow, though its clock does not run yet"
        deferral.release(1)
        assert received(far, 1) == [b"x"]


def test_ipv6_flows_are_held_too(path: Path, queue: PacketQueue, far: socket.socket) -> None:
    protocol, deferral = FakeProtocol(), Defer(queue)
    send(path.client, b"six", SERVER6)
    assert is_readable(queue, SOON_S)
    deferral.take(protocol, LocalAddresses([]), 0.0)
    [flow] = protocol.offered[0]
    assert flow["orig_dst"].tobytes() == ip_address(SERVER6).packed
    deferral.expire(DEFER_S)
    assert received(far, 1) == [b"six"]


def test_removing_the_rule_lets_everything_go(path: Path, queue: PacketQueue, far: socket.socket) -> None:
    deferral = Defer(queue)
    send(path.client, b"taken")
    assert is_readable(queue, SOON_S)
    deferral.take(FakeProtocol(), LocalAddresses([]), 0.0)
    send(path.client, b"waiting")
    assert is_readable(queue, SOON_S)
    for _ in range(2):
        carry_out(path.fw, lambda: defer.remove(deferral))
    assert received(far, 2) == [b"taken", b"waiting"]
    assert "deferred" not in path.fw.run("nft", "list", "ruleset")
    send(path.client, b"later")
    assert received(far, 1) == [b"later"]


def test_the_kernel_drops_what_is_held_when_any_chain_goes(path: Path, queue: PacketQueue, far: socket.socket) -> None:
    """Why rules are emptied, packets let go and only then the chain deleted."""
    path.filter(path.fw, "ct state invalid drop")
    send(path.client, b"lost")
    held = drained(queue, 1)
    path.fw.run("nft", "delete table inet t")
    queue.accept(held)
    assert not is_readable(far, NEVER_S)
    assert queue.drain(1) == []
    assert queue.counters.refused == 1


def test_loading_twice_makes_each_rule_once(path: Path, queue: PacketQueue) -> None:
    carry_out(path.fw, defer.load)
    assert path.fw.run("nft", "list", "chain", "inet", ruleset.TABLE, defer.CHAIN).count("queue flags bypass") == 2


def test_verdicts_about_packets_that_are_gone_are_counted(path: Path, queue: PacketQueue) -> None:
    queue.accept([77, 78])
    assert queue.drain(10) == []
    assert queue.counters.refused == 2


def test_more_than_the_queue_holds_passes_at_once(path: Path, queue: PacketQueue, far: socket.socket) -> None:
    queue.close()
    with path.fw.inside(lambda: PacketQueue(QUEUE, maxlen=2)) as small:
        for text in (b"0", b"1", b"2"):
            send(path.client, text)
        assert received(far, 1) == [b"2"]
        small.accept(drained(small, 2))
        assert received(far, 2) == [b"0", b"1"]


def test_a_queue_belongs_to_one_program(path: Path, queue: PacketQueue) -> None:
    with pytest.raises(SystemCallError, match="cannot use packet queue 240"):
        path.fw.inside(lambda: PacketQueue(QUEUE))


# --- the way back through another node -------------------------------------------------------------------------


@pytest.fixture
def asymmetric(netlab: Netlab) -> Path:
    """Two strict firewalls, one a way."""
    path = Path(netlab, firewalls=2)
    for node in path.firewalls:
        path.filter(node, STRICT)
    return path


@pytest.fixture
def listener(asymmetric: Path) -> Iterator[socket.socket]:
    with asymmetric.server.socket(kind=socket.SOCK_STREAM) as made:
        made.bind(("", PORT))
        made.listen()
        yield made


def is_connected(near: socket.socket, within_s: float) -> bool:
    return bool(select.select([], [near], [], within_s)[1])


class Side:
    """One firewall with deferral, whose states the other one gets if it wants them."""

    def __init__(self, node: LabNode) -> None:
        self.queue = node.inside(lambda: PacketQueue(QUEUE))
        self.table = node.inside(KernelTable)
        self.deferral = Defer(self.queue)
        self.protocol = FakeProtocol()
        carry_out(node, defer.load)

    def close(self) -> None:
        self.queue.close()
        self.table.close()

    def one_packet(self, other: Side, *, is_told: bool = True) -> Flows:
        """The flow of the packet that is held here, let go once the other side has its state, or without that."""
        assert is_readable(self.queue, SOON_S)
        assert self.deferral.take(self.protocol, LocalAddresses([]), 0.0)
        flows = self.protocol.offered[-1]
        if is_told:
            other.table.apply(flows, extra_s=0)
        self.deferral.release(len(self.protocol.offered))
        return flows


@pytest.fixture
def sides(asymmetric: Path) -> Iterator[tuple[Side, Side]]:
    there, back = (Side(node) for node in asymmetric.firewalls)
    with closing(there), closing(back):
        yield there, back


def test_a_connection_comes_back_through_the_other_node(
    asymmetric: Path, listener: socket.socket, sides: tuple[Side, Side]
) -> None:
    there, back = sides
    with asymmetric.client.socket(kind=socket.SOCK_STREAM) as near:
        near.setblocking(False)
        near.connect_ex((SERVER, PORT))
        [syn] = there.one_packet(back)
        assert (syn["op"], syn["tcp_state"]) == (Op.INSERT, TcpState.SYN_SENT)
        assert not is_connected(near, NEVER_S)
        [answer] = back.one_packet(there)
        assert (answer["op"], answer["tcp_state"]) == (Op.UPDATE, TcpState.SYN_RECV)
        assert is_connected(near, SOON_S)
        assert is_readable(listener, 0.15), "before anybody repeats something: TCP waits 0.2 s at least"


def test_without_the_state_there_the_answer_is_lost(
    asymmetric: Path, listener: socket.socket, sides: tuple[Side, Side]
) -> None:
    """What the test before would prove if it proved nothing."""
    there, back = sides
    with asymmetric.client.socket(kind=socket.SOCK_STREAM) as near:
        near.setblocking(False)
        near.connect_ex((SERVER, PORT))
        there.one_packet(back, is_told=False)
        assert not is_connected(near, 0.5)
        assert not is_readable(back.queue, 0)


def test_without_the_state_of_the_answer_the_clients_ack_is_lost(
    asymmetric: Path, listener: socket.socket, sides: tuple[Side, Side]
) -> None:
    there, back = sides
    with asymmetric.client.socket(kind=socket.SOCK_STREAM) as near:
        near.setblocking(False)
        near.connect_ex((SERVER, PORT))
        there.one_packet(back)
        back.one_packet(there, is_told=False)
        assert is_connected(near, SOON_S)
        assert not is_readable(listener, 0.5)
