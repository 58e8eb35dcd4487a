"""A station on a machine of paper: a kernel, sockets and a context that only write down what was asked of them.

Everything between them is the real thing: machine, hosts, stamps, hellos, ports and the bytes of every frame.
"""

from __future__ import annotations

import errno
import itertools
import random
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address, ip_interface
from pathlib import Path
from typing import Any, TypeVar

import trio

from appliance.events import Event
from appliance.metrics import MetricsRegistry, ScopedMetrics
from appliance.net import fastpath, frames, nftset
from appliance.net import rtmessages as m
from appliance.net.rtfacts import AddressInfo, LinkInfo, parse_address, parse_link
from appliance.plugin import Node as Identity
from appliance_carp import hello, reception, wire
from appliance_carp.datapath import CLOSED, TABLE, Kernel
from appliance_carp.host import VirtualHost
from appliance_carp.ledger import Ledger
from appliance_carp.machine import Machine
from appliance_carp.port import Port
from appliance_carp.settings import CarpSettings, PortSettings, VipSettings
from appliance_carp.station import Station
from appliance_carp.vocabulary import GroupSettings, State, VhidKey

E = TypeVar("E", bound=Event)

LAN: VhidKey = ("lan", 1)
WAN: VhidKey = ("wan", 2)
PASSWORD = "mekmitasdigoat"
SUBNETS = {"lan": "192.168.1.", "wan": "198.51.100.", "sync": "172.16.1."}
INDEXES = {"lan0": 2, "wan0": 3, "sync0": 4}
CARDS = {"lan0": "02:00:00:00:00:02", "wan0": "02:00:00:00:00:03", "sync0": "02:00:00:00:00:04"}
ME, PEER = 2, 3
"""Last byte of the addresses of this node and of the other one."""
WALL_S = 1_800_000_000.0
CARP_MAC = {4: frames.multicast_mac(IPv4Address(wire.GROUP_V4)), 6: frames.multicast_mac(IPv6Address(wire.GROUP_V6))}


def vip(name: str, vhid: int, *addresses: str, interface: str = "", **changes: Any) -> VipSettings:
    values: dict[str, Any] = {"password": PASSWORD, "advbase": 1, "advskew": 0} | changes
    return VipSettings(
        name=name, interface=interface or name, vhid=vhid, addresses=tuple(map(ip_interface, addresses)), **values
    )


VIPS = (vip("lan", 1, "192.168.1.1/24"), vip("wan", 2, "198.51.100.1/24"))
DUAL = vip("lan", 1, "192.168.1.1/24", "2001:db8:1::1/64")


def port_settings(name: str) -> PortSettings:
    return PortSettings(interface=name, device=f"{name}0", addresses=(ip_interface(f"{SUBNETS[name]}{ME}/24"),))


def carp(*vips: VipSettings, ports: Sequence[str] = ("lan", "wan"), sync: bool = True, **changes: Any) -> CarpSettings:
    values: dict[str, Any] = {"node": "fw1", "password": PASSWORD, "preempt": False} | changes
    return CarpSettings(
        vips=vips or VIPS,
        ports=tuple(map(port_settings, ports)),
        sync=port_settings("sync") if sync else None,
        **values,
    )


# --- the kernel --------------------------------------------------------------------------------------------


class PaperRoute:
    """Devices and addresses of one machine; understands the very messages that the real kernel would get."""

    def __init__(self, journal: list[str]) -> None:
        self._journal = journal
        self.links: dict[int, LinkInfo] = {}
        self.addresses: list[AddressInfo] = []
        self.refuse: dict[str, int] = {}
        """Errno by the start of a journal line."""
        self.names: set[str] = set()
        """Of every device there ever was."""
        self._indexes = itertools.count(100)

    def plug(self, name: str, *, index: int = 0, up: bool = True) -> LinkInfo:
        """A device of the machine."""
        index = index or INDEXES[name]
        self._put(LinkInfo(index, name, "", CARDS[name], 0, up, up, 1500, 0, 0, ""))
        return self.links[index]

    def address(self, device: str, text: str) -> None:
        parsed = ip_interface(text)
        index = next(link.index for link in self.links.values() if link.name == device)
        family = 2 if parsed.version == 4 else 10
        self.addresses.append(AddressInfo(index, family, parsed.ip, parsed.network.prefixlen, 0, None))

    def request(self, message: bytes) -> None:
        code = self._do(message)
        if code:
            raise fastpath.system_error(code, "the kernel refused a network change")

    def batch(self, messages: Sequence[bytes]) -> list[int]:
        return [self._do(message) for message in messages]

    def dump_links(self) -> list[LinkInfo]:
        return list(self.links.values())

    def dump_addresses(self, index: int | None = None) -> list[AddressInfo]:
        return [each for each in self.addresses if index in (None, each.index)]

    def close(self) -> None:
        self._journal.append("route closed")

    def _put(self, link: LinkInfo) -> None:
        self.links[link.index] = link
        self.names.add(link.name)

    def _do(self, message: bytes) -> int:
        length, kind, flags, _, _ = m.HEADER.unpack_from(message)
        assert length == len(message)
        data = memoryview(message)
        if kind in (m.RTM_NEWLINK, m.RTM_DELLINK):
            link = parse_link(data, m.HEADER.size, length)
            return (
                self._delete(link) if kind == m.RTM_DELLINK else self._change(link, create=bool(flags & m.NLM_F_CREATE))
            )
        info = parse_address(data, m.HEADER.size, length)
        assert info is not None
        return self._readdress(info, add=kind == m.RTM_NEWADDR)

    def _change(self, link: LinkInfo, *, create: bool) -> int:
        if create:
            if (code := self._note(f"link + {link.name}")) == 0:
                self._put(link._replace(index=next(self._indexes)))
            return code
        known = self.links[link.index]
        self.links[link.index] = known._replace(alias=link.alias or known.alias, up=known.up or link.up)
        return 0

    def _delete(self, link: LinkInfo) -> int:
        gone = [link.index] if link.index else [i for i, each in self.links.items() if each.group == link.group]
        for index in gone:
            self._note(f"link - {self.links.pop(index).name}")
            self.addresses = [each for each in self.addresses if each.index != index]
        return 0

    def _readdress(self, info: AddressInfo, *, add: bool) -> int:
        line = f"address {'+' if add else '-'} {info.address}/{info.prefix_length} {self.links[info.index].name}"
        if code := self._note(line):
            return code
        same = [each for each in self.addresses if (each.index, each.address) == (info.index, info.address)]
        if add:
            self.addresses += [] if same else [info]
            return errno.EEXIST if same else 0
        self.addresses = [each for each in self.addresses if each not in same]
        return 0 if same else errno.EADDRNOTAVAIL

    def _note(self, line: str) -> int:
        self._journal.append(line)
        return next((code for start, code in self.refuse.items() if line.startswith(start)), 0)


class PaperFilter:
    """The set of closed devices."""

    def __init__(self, journal: list[str], names: set[str]) -> None:
        self._journal = journal
        self._names = names
        self.closed: set[str] = set()
        self.there = True

    def send(self, transaction: bytes, *, tolerate: tuple[int, ...] = ()) -> None:
        assert errno.ENOENT in tolerate, "a flushed ruleset must not stop a handover"
        for name in self._names:
            key = [nftset.interface_key(name)]
            if transaction == nftset.element_change(TABLE, CLOSED, key, add=True):
                self._journal.append(f"drop {name}")
                self.closed.add(name)
                return
            if transaction == nftset.element_change(TABLE, CLOSED, key, add=False):
                self._journal.append(f"lift {name}")
                self.closed.discard(name)
                return
        raise AssertionError("a change of the set for a device that never was")

    def has_set(self, table: str, set_name: str) -> bool:
        return self.there and (table, set_name) == (TABLE, CLOSED)

    def close(self) -> None:
        self._journal.append("filter closed")


class PaperKernel(Kernel):
    """Both sockets."""

    def __init__(self) -> None:
        self.journal: list[str] = []
        """Every change in order: links, addresses, sysctls of the failover path, the drop rule."""
        self.route: PaperRoute = PaperRoute(self.journal)  # type: ignore[assignment]
        self.filter: PaperFilter = PaperFilter(self.journal, self.route.names)  # type: ignore[assignment]
        self.sysctls: dict[str, str] = {}

    def sysctl(self, path: str) -> PaperSysctl:
        return PaperSysctl(self, path)


class PaperSysctl:
    """One file below /proc/sys."""

    def __init__(self, kernel: PaperKernel, path: str) -> None:
        self._kernel = kernel
        self._path = path
        self.open = True

    def __enter__(self) -> PaperSysctl:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self) -> str:
        return self._kernel.sysctls[self._path]

    def write(self, value: str) -> None:
        assert self.open
        self._kernel.sysctls[self._path] = value
        _, _, _, device, knob = self._path.split("/")
        self._kernel.journal.append(f"sysctl {device} {knob}={value}")

    def fileno(self) -> int:
        return 0

    def close(self) -> None:
        self.open = False


# --- sockets -----------------------------------------------------------------------------------------------


class PaperSocket:
    """A packet socket: keeps what is sent, gives what was put into its inbox."""

    numbers = itertools.count(1000)
    """Not descriptors of this process; nothing may wait for them."""

    def __init__(self, device: str, ethertype: int, program: object, *, multicast: Sequence[bytes] = ()) -> None:
        self.device = device
        self.program = program
        self.sent: list[bytes] = []
        self.inbox: list[bytes] = []
        self.error = 0
        self.answer: Callable[[bytes], None] = lambda frame: None
        self._number = next(self.numbers)
        self.is_open = True

    def send(self, frame: bytes) -> int:
        if not self.error:
            self.sent.append(frame)
            self.answer(frame)
        return self.error

    def drain(self, limit: int) -> list[tuple[bytes, int, int]]:
        taken, self.inbox = self.inbox[:limit], self.inbox[limit:]
        return [(frame, 0, 0) for frame in taken]

    def refilter(self, program: object) -> None:
        self.program = program

    def fileno(self) -> int:
        return self._number

    def close(self) -> None:
        self.is_open = False


class PaperRaw:
    """A raw socket for unicast adverts."""

    def __init__(self, family: int) -> None:
        self.sent: list[tuple[bytes, str]] = []
        self.error = 0

    def sendmsg(self, buffers: Sequence[bytes], control: object, flags: int, address: tuple[str, int]) -> None:
        if self.error:
            raise OSError(self.error, "refused")
        self.sent.append((b"".join(buffers), address[0]))

    def fileno(self) -> int:
        return 0

    def close(self) -> None:
        return


# --- the context -------------------------------------------------------------------------------------------


class PaperLog:
    """Log lines as tuples."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, object]]] = []

    def debug(self, event: str, **fields: object) -> None:
        self.lines.append(("debug", event, fields))

    def info(self, event: str, **fields: object) -> None:
        self.lines.append(("info", event, fields))

    def warning(self, event: str, **fields: object) -> None:
        self.lines.append(("warning", event, fields))

    def error(self, event: str, **fields: object) -> None:
        self.lines.append(("error", event, fields))

    def named(self, event: str) -> list[dict[str, object]]:
        return [fields for _, name, fields in self.lines if name == event]


@dataclass
class PaperContext:
    """What the heartbeat service is given; what it publishes is kept in order."""

    state_dir: Path
    config: object = None
    name: str = "carp/heartbeat"
    node: Identity = field(default_factory=lambda: Identity(name="fw1"))
    log: PaperLog = field(default_factory=PaperLog)
    published: list[Event] = field(default_factory=list)
    random: random.Random = field(default_factory=lambda: random.Random(0))
    stopping: trio.Event = field(default_factory=trio.Event)
    metrics: ScopedMetrics = field(default_factory=lambda: MetricsRegistry().scoped("carp"))

    def publish(self, event: Event) -> None:
        self.published.append(event)

    def events(self, kind: type[E]) -> list[E]:
        return [event for event in self.published if isinstance(event, kind)]


# --- a station ---------------------------------------------------------------------------------------------


class Rig:
    """One station with its devices there and its machine started, and a clock that is moved by hand."""

    def __init__(self, kernel: PaperKernel, state_dir: Path, settings: CarpSettings, now: float) -> None:
        self.kernel = kernel
        self.ctx = PaperContext(state_dir, settings)
        self.now = now
        machine = Machine(GroupSettings(vhids=(), preempt=settings.preempt), jitter=lambda: 0.0)
        self.station = Station(self.ctx, settings, kernel, 1, machine)  # type: ignore[arg-type]
        self.station.build(now)
        self.machine.reconfigure(self.station.group(), now)

    def plugged(self) -> Rig:
        """Every device is there and has link, the machine listens."""
        for port in self.station.all_ports():
            port.attach(self.kernel.route.plug(port.settings.device))
            self.kernel.route.address(port.settings.device, f"{SUBNETS[port.name]}{ME}/24")
            self.learn(port)
            port.up = True
            if port.name in self.station.ports:
                self.station.attach_hosts(port)
        self.station.perform(self.machine.start(self.now))
        for name in self.station.ports:
            self.station.perform(self.machine.set_link(name, True, self.now))
        return self

    def learn(self, port: Port) -> None:
        port.learn_addresses(self.kernel.route.dump_addresses(port.index))

    @property
    def machine(self) -> Machine:
        return self.station.machine

    def pass_time(self, seconds: float) -> None:
        """With a punctual driver."""
        end = self.now + seconds
        while (deadline := self.machine.next_deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.station.perform(self.machine.tick(self.now))
        self.now = end

    def master(self) -> Rig:
        """MASTER of everything, because nobody else is heard."""
        self.pass_time(7)
        assert self.states() == {State.MASTER}
        return self

    def states(self) -> set[State]:
        return {report.state for report in self.machine.reports()}

    def state(self, key: VhidKey) -> State:
        return self.machine.report(key).state

    def take(self, interface: str, *taken: bytes) -> None:
        """Frames that come in on an interface."""
        port = next(port for port in self.station.all_ports() if port.name == interface)
        for frame in taken:
            family = 6 if frame[12:14] == b"\x86\xdd" else 4
            reception.take_frame(self.station, port, frame, family, self.now)

    def sockets(self, interface: str) -> tuple[PaperSocket, PaperSocket, PaperSocket]:
        """IPv4, IPv6 and ARP."""
        port = next(port for port in self.station.all_ports() if port.name == interface)
        assert port.sockets is not None
        return port.sockets.all_packet()  # type: ignore[return-value]

    def counters(self, key: VhidKey) -> dict[str, int]:
        """The counters that count."""
        return {name: count for name, count in self.station.hosts[key].counters.items() if count}


class Peer:
    """The other node, as far as it can be heard: real stamps, digests and hellos."""

    def __init__(self, *vips: VipSettings, name: str = "fw2", number: int = PEER, password: str = PASSWORD) -> None:
        self.name = name
        self.number = number
        self.hosts = {each.key: VirtualHost(each, slot, Ledger()) for slot, each in enumerate(vips or VIPS)}
        self.key = hello.HelloKey(password)
        self.sequence = 0

    def source(self, interface: str, family: int = 4) -> str:
        return f"{SUBNETS[interface]}{self.number}" if family == 4 else f"fe80::{self.number}"

    def payload(
        self, key: VhidKey = LAN, *, advbase: int = 1, advskew: int = 50, source: str = "", demote: int = 0
    ) -> bytes:
        host = self.hosts[key]
        return host.payload(
            host.voice,
            source=source or self.source(key[0]),
            advbase=advbase,
            advskew=advskew,
            demote=demote,
            unix_time=WALL_S,
        )

    def advert(self, key: VhidKey = LAN, *, family: int = 4, via: str = "", ttl: int = 255, **how: Any) -> bytes:
        """A frame; `via` another interface than that of the virtual host."""
        source = self.source(via or key[0], family)
        return framed(self.payload(key, source=source, **how), source, ttl=ttl)

    def bow_out(self, key: VhidKey = LAN, **how: Any) -> bytes:
        return self.advert(key, advbase=255, advskew=255, **how)

    def hello(self, *, via: str = "lan", state: State = State.BACKUP, **changes: Any) -> bytes:
        """The next hello, which fits into one frame."""
        (payload,) = hello.encode(self.next_hello(state, **changes), self.key)
        return framed(payload, self.source(via))

    def next_hello(self, state: State = State.BACKUP, **changes: Any) -> hello.Hello:
        self.sequence += 1
        said = hello.Hello(
            node=self.name,
            incarnation=1,
            sequence=self.sequence,
            vhids=tuple(
                hello.VhidStatus(key, state, 100, host.settings.families, host.fingerprint)
                for key, host in self.hosts.items()
            ),
            offers=tuple(
                hello.Offer(key, edition, staged=edition == host.transaction.wanted)
                for key, host in self.hosts.items()
                for edition in host.transaction.accepted[1:]
            ),
            sources={name: (self.source(name),) for name in SUBNETS},
        )
        return replace(said, **changes)


def framed(payload: bytes, source: str, *, ttl: int = 255, to: str = "", mac: bytes = b"\x02" * 6) -> bytes:
    """A payload of protocol 112 in its packet in its frame."""
    if ":" in source:
        return frames.ipv6_frame(
            source_mac=mac,
            destination_mac=CARP_MAC[6],
            source=IPv6Address(source),
            destination=IPv6Address(to or wire.GROUP_V6),
            next_header=wire.PROTOCOL,
            payload=payload,
            hop_limit=ttl,
        )
    return frames.ipv4_frame(
        source_mac=mac,
        destination_mac=CARP_MAC[4],
        source=IPv4Address(source),
        destination=IPv4Address(to or wire.GROUP_V4),
        protocol=wire.PROTOCOL,
        payload=payload,
        ttl=ttl,
    )


def summed(payload: bytes) -> bytes:
    """A payload whose checksum is right again."""
    blank = payload[:6] + b"\0\0" + payload[8:]
    return blank[:6] + struct.pack("!H", wire.checksum(blank)) + blank[8:]


def payload_of(frame: bytes) -> bytes:
    """What the IP packet of a frame carries."""
    return (wire.parse_ipv6 if frame[12:14] == b"\x86\xdd" else wire.parse_ipv4)(frame[14:]).payload


def adverts_in(sent: Iterable[bytes]) -> list[wire.Advert]:
    """The adverts among frames, hellos and announcements left out."""
    return [
        wire.parse(payload) for frame in sent if is_protocol_112(frame) and (payload := payload_of(frame))[0] == 0x21
    ]


def hellos_in(sent: Iterable[bytes], password: str = PASSWORD) -> list[hello.Hello]:
    """The hellos among frames."""
    key = hello.HelloKey(password)
    payloads = [payload_of(frame) for frame in sent if is_protocol_112(frame)]
    return [hello.parse(payload, key).hello for payload in payloads if payload[0] == wire.HELLO_TYPE]


def is_protocol_112(frame: bytes) -> bool:
    return frame[20 if frame[12:14] == b"\x86\xdd" else 23] == wire.PROTOCOL
