"""The replicator's world on paper: what is published, applied and offered is kept and can be looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np

from appliance.events import Alarm, Event
from appliance.net.conntrack.entry import TCP
from appliance_pfsync.alarms import Alarms
from appliance_pfsync.defer import Defer
from appliance_pfsync.effects import Actor
from appliance_pfsync.filters import LocalAddresses
from appliance_pfsync.flow import FLOW4, FLOW6, Flows, Op, key_hashes
from appliance_pfsync.kernel import TableCounters
from appliance_pfsync.link import LinkCounters
from appliance_pfsync.native.effects import PeerReport
from appliance_pfsync.settings import PfsyncSettings
from appliance_pfsync.snapshot import Snapshot
from tests.unit.plugins.pfsync.ctmessages import connection, record

E = TypeVar("E", bound=Event)

CLIENT, SERVER, OWN = "192.168.1.100", "198.51.100.1", "192.168.1.1"
CLIENT6, SERVER6 = "2001:db8:1::64", "2001:db8:2::1"
SETTINGS = PfsyncSettings(node="fw1", interface="sync", device="sync0", family=4, key_file="/run/keys")


def flows(*ports: int, op: Op = Op.INSERT, proto: int = TCP, client: str = CLIENT, server: str = SERVER) -> Flows:
    """Established connections of these client ports to port 443."""
    one = record(connection(client, server, proto), op)
    made: Flows = np.repeat(one, len(ports))
    made["orig_sport"] = made["reply_dport"] = ports
    return made


def flows6(*ports: int, op: Op = Op.INSERT) -> Flows:
    return flows(*ports, op=op, client=CLIENT6, server=SERVER6)


def joined(*parts: Flows) -> Flows:
    """One array, in network byte order, which numpy alone would give up."""
    result: Flows = np.concatenate(parts, dtype=parts[0].dtype)
    return result


def ports(of: Flows) -> list[int]:
    """The client ports."""
    found: list[int] = of["orig_sport"].tolist()
    return found


def report(name: str = "fw2", *, alive: bool = True, **values: Any) -> PeerReport:
    standard: dict[str, Any] = {
        "address": "172.16.1.3", "version": 1, "secured": True, "lag_s": 0.0012345, "states": 7, "bulk": "done",
        "last_bulk_at": None, "last_bulk_count": 0, "losses": 0, "counters": {},
    }  # fmt: skip
    return PeerReport(name=name, alive=alive, **standard | values)


class PaperLog:
    """Keeps the names of what was logged."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def _take(self, event: str, **_: object) -> None:
        self.names.append(event)

    debug = info = warning = error = _take


@dataclass
class PaperContext:
    """What a service publishes and logs."""

    log: PaperLog = field(default_factory=PaperLog)
    published: list[Event] = field(default_factory=list)

    def publish(self, event: Event) -> None:
        self.published.append(event)

    def events(self, kind: type[E]) -> list[E]:
        return [event for event in self.published if isinstance(event, kind)]


@dataclass
class PaperTable:
    """A kernel's table: rows that are there, and every call of `apply`."""

    four: Flows = field(default_factory=lambda: np.zeros(0, FLOW4))
    six: Flows = field(default_factory=lambda: np.zeros(0, FLOW6))
    counters: TableCounters = field(default_factory=TableCounters)
    applied: list[tuple[Flows, int, bool]] = field(default_factory=list)

    def dump(self) -> Iterator[tuple[Flows, Flows]]:
        """In two parts."""
        half = len(self.four) // 2
        yield self.four[:half].copy(), self.six.copy()
        yield self.four[half:].copy(), self.six[:0].copy()

    def lookup(self, wanted: Flows) -> Flows:
        rows = self.four if wanted.dtype == FLOW4 else self.six
        found = rows[np.isin(key_hashes(rows), key_hashes(wanted))].copy()
        found["op"] = Op.UPDATE
        return found

    def apply(self, applied: Flows, *, extra_s: int, is_snapshot: bool = False) -> None:
        self.applied.append((applied.copy(), extra_s, is_snapshot))


@dataclass
class PaperProtocol:
    """A dialect that only keeps what it was told."""

    peers: list[PeerReport] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=lambda: {"hellos": 3})
    offered: list[Flows] = field(default_factory=list)
    repairs: list[tuple[str, Flows]] = field(default_factory=list)
    confirmed: list[tuple[str, int]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def offer(self, offered: Flows, now: float) -> None:
        self.offered.append(offered.copy())

    def offer_repair(self, peer: str, offered: Flows, now: float) -> None:
        self.repairs.append((peer, offered.copy()))

    def injected(self, peer: str, token: int, now: float) -> None:
        self.confirmed.append((peer, token))

    def request_bulk(self, now: float) -> None:
        self.asked.append("bulk")

    def clear(self, now: float) -> None:
        self.asked.append("clear")


class PaperReplicator:
    """What actor and operator see of the replicator."""

    def __init__(self, *, is_master: bool = True, is_owner: bool = True) -> None:
        self.ctx = PaperContext()
        self.settings = SETTINGS
        self.alarms = Alarms(self.ctx)  # type: ignore[arg-type]
        self.table = PaperTable()
        self.protocol = PaperProtocol()
        self.link = SimpleNamespace(counters=LinkCounters())
        self.local = LocalAddresses([OWN])
        self.is_master, self.is_owner = is_master, is_owner
        self.is_running = True
        self.is_behind = False
        self.snapshot: Snapshot | None = None
        self.defer: Defer | None = None
        self.released: list[int] = []
        self.began: Counter[str] = Counter()
        """What was begun, by name."""
        self.actor = Actor(self)  # type: ignore[arg-type]

    def release(self, ticket: int) -> None:
        self.released.append(ticket)

    def fell_behind(self) -> None:
        self.is_behind = True

    def caught_up(self) -> None:
        self.is_behind = False

    def start_feed(self, peer: str) -> None:
        self.began[f"feed {peer}"] += 1

    def start_removal(self) -> None:
        self.began["removal"] += 1

    def start_audit(self) -> None:
        self.began["audit"] += 1

    async def remove_replicated(self) -> int:
        self.began["removal"] += 1
        return len(self.table.four)

    def flush(self) -> None:
        self.began["flush"] += 1

    def rearm(self) -> None:
        self.began["rearm"] += 1

    def active_alarms(self) -> set[str]:
        """Keys of what was raised and not cleared, as a listener of the bus knows it."""
        active: dict[str, bool] = {alarm.key: alarm.active for alarm in self.ctx.events(Alarm)}
        return {key for key, is_active in active.items() if is_active}
