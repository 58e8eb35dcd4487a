"""The sync link between two machines: who hears what, what is refused, and devices that come and go."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from ipaddress import ip_address

import pytest
import trio
import trio.testing

from appliance.errors import KernelError
from appliance.net.fastpath import carrier
from appliance.testing import LabNode, Netlab
from appliance_pfsync.link import DATAGRAM_MAX, PROTOCOL, TOS, SyncLink
from appliance_pfsync.settings import GROUP_V4, GROUP_V6, PfsyncSettings

pytestmark = pytest.mark.netns

A4, B4, A6, B6 = "172.16.1.2", "172.16.1.3", "fd00::2", "fd00::3"
LINK_LOCAL_A = "fe80::a"
SETTINGS = PfsyncSettings(node="fw1", interface="sync", device="sync0", family=4)
SIX = replace(SETTINGS, family=6)
WAIT_S, QUIET_S = 2.0, 0.2


class Ends:
    """Two machines with a cable, and the links that a test opened on them."""

    def __init__(self, lab: Netlab) -> None:
        self.a, self.b = lab.node("a"), lab.node("b")
        self._lab = lab
        self._links: list[SyncLink] = []
        self.connect()

    def connect(self) -> None:
        """A new cable."""
        self._lab.connect(self.a, self.b, "sync0", [f"{A4}/24", f"{A6}/64", f"{LINK_LOCAL_A}/64"])
        self._lab.address(self.b, "sync0", [f"{B4}/24", f"{B6}/64", "fe80::b/64"])
        self.wait_for_carrier()

    def wait_for_carrier(self) -> None:
        """Until the kernel has looked at it, up to a second, it silently drops what is sent."""
        for node in (self.a, self.b):
            deadline = time.monotonic() + WAIT_S
            while not node.inside(lambda: carrier("sync0")):
                assert time.monotonic() < deadline, "no carrier"

    def link(self, node: LabNode, settings: PfsyncSettings) -> SyncLink:
        made = SyncLink(settings)
        node.inside(made.open)
        self._links.append(made)
        return made

    def pair(self, settings: PfsyncSettings) -> tuple[SyncLink, SyncLink]:
        return self.link(self.a, settings), self.link(self.b, settings)

    def are_current(self, links: dict[LabNode, SyncLink]) -> list[bool]:
        return [node.inside(partial(getattr, link, "is_current")) for node, link in links.items()]

    def close(self) -> None:
        for link in self._links:
            link.close()


@pytest.fixture
def ends(netlab: Netlab) -> Iterator[Ends]:
    made = Ends(netlab)
    yield made
    made.close()


def heard(link: SyncLink, wait_s: float = WAIT_S) -> list[tuple[bytes, str]]:
    """What has arrived; waits until something has."""
    select.select([link], [], [], wait_s)
    return list(link.drain(100))


def raw(node: LabNode, family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    """A socket of somebody else on the same machine."""
    return node.socket(family, socket.SOCK_RAW, PROTOCOL)


# --- who hears what ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("settings", "source"), [(SETTINGS, A4), (SIX, LINK_LOCAL_A)])
def test_what_goes_to_everybody_is_heard_by_the_others_and_not_by_oneself(
    ends: Ends, settings: PfsyncSettings, source: str
) -> None:
    a, b = ends.pair(settings)
    assert a.send(b"one", "")
    assert a.send(b"two", "")
    got: list[tuple[bytes, str]] = []
    while len(got) < 2 and (more := heard(b)):
        got += more
    assert got == [(b"one", source), (b"two", source)]
    assert heard(a, QUIET_S) == []
    assert (a.counters.opackets, b.counters.ipackets) == (2, 2)
    assert (a.counters.ipackets, a.counters.oerrors, b.counters.badttl) == (0, 0, 0)


@pytest.mark.parametrize(
    ("settings", "peer", "source"),
    [(SETTINGS, B4, A4), (SIX, B6, A6), (SIX, "fe80::b", LINK_LOCAL_A)],
)
def test_what_goes_to_peers_goes_to_their_addresses_and_can_be_answered(
    ends: Ends, settings: PfsyncSettings, peer: str, source: str
) -> None:
    chosen = replace(settings, peers=(ip_address(peer),))
    a, b = ends.link(ends.a, chosen), ends.link(ends.b, chosen)
    assert a.send(b"to all", "")
    assert heard(b) == [(b"to all", source)]
    assert b.send(b"to one", source)
    assert heard(a) == [(b"to one", peer)]


def test_every_peer_gets_its_own_datagram(ends: Ends) -> None:
    ends.b.run("ip", "addr", "add", "172.16.1.4/24", "dev", "sync0")
    a = ends.link(ends.a, replace(SETTINGS, peers=(ip_address(B4), ip_address("172.16.1.4"))))
    b = ends.link(ends.b, SETTINGS)
    assert a.send(b"both", "")
    got = heard(b)
    got += heard(b, QUIET_S)
    assert got == [(b"both", A4), (b"both", A4)]
    assert a.counters.opackets == 2


def test_a_burst_waits_in_the_socket_and_is_taken_in_parts(ends: Ends) -> None:
    a, b = ends.pair(SETTINGS)
    for number in range(5000):
        assert a.send(number.to_bytes(2, "big") * 700, "")
    select.select([b], [], [], WAIT_S)
    assert [int.from_bytes(datagram[:2], "big") for datagram, _ in b.drain(64)] == list(range(64))
    rest: list[bytes] = []
    while more := [datagram for datagram, _ in b.drain(1000)]:
        rest += more
    assert len(rest) == 5000 - 64
    assert b.counters.ipackets == 5000


def test_datagrams_leave_with_the_ttl_and_the_tos_of_pfsync(ends: Ends) -> None:
    a = ends.link(ends.a, SETTINGS)
    with raw(ends.b) as other:
        other.settimeout(WAIT_S)
        a.send(b"x", B4)
        packet = other.recv(DATAGRAM_MAX)
    assert (packet[1], packet[8], packet[9]) == (TOS, 255, PROTOCOL)
    assert int.from_bytes(packet[6:8], "big") == 0x4000, "never in fragments"


def test_nothing_is_heard_that_came_in_elsewhere(ends: Ends, netlab: Netlab) -> None:
    b = ends.link(ends.b, SETTINGS)
    netlab.connect(ends.a, ends.b, "lan0", ["192.168.1.2/24"])
    netlab.address(ends.b, "lan0", ["192.168.1.3/24"])
    with raw(ends.a) as lan, raw(ends.b) as anybody:
        anybody.settimeout(WAIT_S)
        lan.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
        for address in ("192.168.1.3", B4):
            lan.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lan0")
            with contextlib.suppress(OSError):
                lan.sendto(b"forged", (address, 0))
        assert anybody.recv(DATAGRAM_MAX)[20:] == b"forged"
    assert heard(b, QUIET_S) == []
    assert b.counters.ipackets == 0


# --- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ttl", [1, 64, 254])
def test_what_came_over_a_router_is_counted_and_refused(ends: Ends, ttl: int) -> None:
    b = ends.link(ends.b, SETTINGS)
    with raw(ends.a) as forger:
        forger.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
        forger.sendto(b"routed", (B4, 0))
        forger.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
        forger.sendto(b"direct", (B4, 0))
        got: list[tuple[bytes, str]] = []
        while not got and b.counters.ipackets < 2:
            got = heard(b)
    assert got == [(b"direct", A4)]
    assert (b.counters.badttl, b.counters.ipackets) == (1, 2)


@pytest.mark.parametrize("hops", [1, 254])
def test_so_it_is_with_ipv6_for_one_and_for_all(ends: Ends, hops: int) -> None:
    b = ends.link(ends.b, SIX)
    with raw(ends.a, socket.AF_INET6) as forger:
        index = ends.a.inside(lambda: socket.if_nametoindex("sync0"))
        for option in (socket.IPV6_UNICAST_HOPS, socket.IPV6_MULTICAST_HOPS):
            forger.setsockopt(socket.IPPROTO_IPV6, option, hops)
        forger.sendto(b"routed", (B6, 0))
        forger.sendto(b"routed", (GROUP_V6, 0, 0, index))
        deadline = time.monotonic() + WAIT_S
        while b.counters.ipackets < 2 and time.monotonic() < deadline:
            assert heard(b) == []
    assert (b.counters.badttl, b.counters.ipackets) == (2, 2)


def test_a_header_with_options_is_taken_off_whole(ends: Ends) -> None:
    b = ends.link(ends.b, SETTINGS)
    with raw(ends.a) as sender:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, b"\x01" * 7 + b"\x00")
        sender.sendto(b"payload", (B4, 0))
    assert heard(b) == [(b"payload", A4)]


def test_what_does_not_fit_is_an_error_that_is_counted(ends: Ends) -> None:
    a, b = ends.pair(SETTINGS)
    assert a.send(bytes(1480), "")
    assert not a.send(bytes(1481), "")
    assert (a.counters.opackets, a.counters.oerrors) == (1, 1)
    assert [len(datagram) for datagram, _ in heard(b)] == [1480]


# --- devices that come and go ------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [SETTINGS, SIX])
def test_while_the_device_is_down_nothing_is_sent_and_nothing_breaks(ends: Ends, settings: PfsyncSettings) -> None:
    a, b = ends.pair(settings)
    ends.a.run("sysctl", "-qw", "net.ipv6.conf.sync0.keep_addr_on_down=1")
    ends.a.run("ip", "link", "set", "sync0", "down")
    assert not a.send(b"lost", "")
    assert heard(a, 0) == []
    assert a.counters.oerrors == 1
    assert ends.a.inside(lambda: a.is_current), "it is the same device still"
    ends.a.run("ip", "link", "set", "sync0", "up")
    ends.wait_for_carrier()
    deadline = time.monotonic() + 2 * WAIT_S
    while not (a.send(b"back", "") and heard(b, QUIET_S)):
        assert time.monotonic() < deadline
    while not (b.send(b"answer", "") and heard(a, QUIET_S)):
        assert time.monotonic() < deadline, "it is still a member of the group"


@pytest.mark.parametrize("settings", [SETTINGS, SIX])
def test_a_device_that_was_replaced_needs_a_new_socket(ends: Ends, settings: PfsyncSettings) -> None:
    links = dict(zip((ends.a, ends.b), ends.pair(settings), strict=True))
    a, b = links.values()
    assert ends.are_current(links) == [True, True]
    ends.a.run("ip", "link", "del", "sync0")
    for is_new in (False, True):
        if is_new:
            ends.connect()
        assert ends.are_current(links) == [False, False]
        assert not a.send(b"lost", "")
        assert heard(b, 0) == []
    for node, link in links.items():
        node.inside(link.open)
    assert ends.are_current(links) == [True, True]
    assert a.send(b"again", "")
    assert [datagram for datagram, _ in heard(b)] == [b"again"]


def test_without_its_device_it_cannot_be_opened_and_says_what_to_look_at(ends: Ends) -> None:
    a = ends.link(ends.a, SETTINGS)
    ends.a.run("ip", "link", "del", "sync0")
    for _ in range(2):
        with pytest.raises(KernelError, match="cannot use sync0") as gone:
            ends.a.inside(a.open)
        assert "[interfaces.sync]" in gone.value.hint
    assert (a.fileno(), a.send(b"lost", ""), list(a.drain(9))) == (-1, False, [])
    ends.connect()
    ends.a.inside(a.open)
    assert a.send(b"again", "")


def test_a_link_that_was_never_opened_says_so(ends: Ends) -> None:
    link = SyncLink(SETTINGS)
    assert (link.fileno(), link.is_current, link.send(b"x", ""), list(link.drain(9))) == (-1, False, False, [])
    link.close()
    link = ends.link(ends.a, SETTINGS)
    link.close()
    assert (link.fileno(), link.index, list(link.drain(9))) == (-1, 0, [])


def test_whoever_waits_for_a_socket_that_is_replaced_is_woken(ends: Ends) -> None:
    async def main() -> None:
        link = ends.link(ends.a, SETTINGS)
        with trio.fail_after(WAIT_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait, link)
                await trio.testing.wait_all_tasks_blocked()
                link.close()

    async def wait(link: SyncLink) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await trio.lowlevel.wait_readable(link.fileno())

    trio.run(main)


def test_without_the_right_to_open_raw_sockets_the_remedy_is_told(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> socket.socket:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(KernelError, match="may not open raw sockets") as refused:
        ends.a.inside(SyncLink(SETTINGS).open)
    assert refused.value.hint == "Run the node as root."


def test_the_groups_are_those_of_pfsync() -> None:
    assert (SETTINGS.destinations, SIX.destinations) == ((GROUP_V4,), (GROUP_V6,))
