"""Many DHCP clients in a namespace (`dhcp_clients`), and what can be said about what happened to them.

Times are those of the machine's monotonic clock, which all its namespaces and processes share.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from appliance.lab import Lab, netns

END_S = 20.0
ANSWERED_MAX_S = 8.0
"""A renewal that is younger than this at the end has not failed."""
LAN_VHID = 1
PRIORITY = "-15"
BOTH_MAX_S = 0.1


class Offer(NamedTuple):
    """The first answer to a client."""

    at: float
    asked_at: float
    """When the client sent its first DISCOVER."""
    client: int
    server: str

    @property
    def wait(self) -> float:
        """Seconds that the client waited."""
        return self.at - self.asked_at


class Hold(NamedTuple):
    """A client believes that an address is its own."""

    since: float
    until: float
    client: int
    address: str


class Renewal(NamedTuple):
    """A client asked to keep its address."""

    asked_at: float
    at: float
    client: int
    outcome: str
    """``renewed``, ``rebound``; ``refused``, ``expired``; ``open`` when the clients were ended."""
    server: str


class Master(NamedTuple):
    """From here on another node sent the adverts of a virtual host."""

    at: float
    vhid: int
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Everything that happened to the clients."""

    clients: int
    offers: tuple[Offer, ...]
    waiting: tuple[tuple[float, int], ...]
    """Clients that never got an answer: since when, which."""
    holds: tuple[Hold, ...]
    renewals: tuple[Renewal, ...]
    refused: tuple[tuple[float, int, str], ...]
    """Clients that had an offer, and then were told no; they begin again."""
    masters: tuple[Master, ...]
    frames_lost: int
    """By the clients' own socket: not 0 means that nothing can be said."""
    ended_at: float

    @classmethod
    def from_json(cls, found: dict[str, Any], ended_at: float) -> Ledger:
        """What the process of the clients printed."""
        return cls(
            clients=found["clients"],
            offers=tuple(sorted(Offer(*each) for each in found["offers"])),
            waiting=tuple((at, client) for at, client in found["waiting"]),
            holds=tuple(sorted(Hold(*each) for each in found["holds"])),
            renewals=tuple(sorted(Renewal(*each) for each in found["renewals"])),
            refused=tuple((at, client, server) for at, client, server in found["refused"]),
            masters=tuple(Master(*each) for each in found["masters"]),
            frames_lost=found["frames_lost"],
            ended_at=ended_at,
        )

    def duplicates(self) -> list[tuple[Hold, Hold]]:
        """Pairs of different clients that held one address at the same time."""
        by_address: dict[str, list[Hold]] = {}
        for hold in self.holds:
            by_address.setdefault(hold.address, []).append(hold)
        return [
            (one, other)
            for holds in by_address.values()
            for number, one in enumerate(holds)
            for other in holds[number + 1 :]
            if other.since < one.until and one.client != other.client
        ]

    def moved(self) -> list[tuple[Hold, Hold]]:
        """Clients that had an address and later another one."""
        by_client: dict[int, list[Hold]] = {}
        for hold in self.holds:
            by_client.setdefault(hold.client, []).append(hold)
        return [
            (one, other)
            for holds in by_client.values()
            for one, other in pairwise(holds)
            if one.address != other.address
        ]

    def failed_renewals(self) -> list[Renewal]:
        """Refused, expired, or without any answer at the end."""
        return [
            each
            for each in self.renewals
            if each.outcome in ("refused", "expired")
            or (each.outcome == "open" and each.at - each.asked_at > ANSWERED_MAX_S)
        ]

    def longest_renewal(self) -> float:
        """Seconds from the first question to the answer."""
        return max((each.at - each.asked_at for each in self.renewals), default=0.0)

    def silence(self, since: float, until: float) -> float:
        """The longest time without any OFFER between two moments, in seconds."""
        times = [since, *(offer.at for offer in self.offers if since <= offer.at <= until), until]
        return max(after - before for before, after in pairwise(times))

    def longest_wait(self, since: float, until: float) -> float:
        """How long a client waited whose first DISCOVER was sent between two moments; those never answered too."""
        waits = [offer.wait for offer in self.offers if since <= offer.asked_at <= until]
        waits += [self.ended_at - asked for asked, _ in self.waiting if since <= asked <= until]
        return max(waits, default=0.0)

    def delayed(self, since: float, until: float, limit_s: float = 0.9) -> int:
        """Clients that had to ask again."""
        late = sum(offer.wait > limit_s for offer in self.offers if since <= offer.asked_at <= until)
        return late + sum(since <= asked <= until - limit_s for asked, _ in self.waiting)

    def takeovers(self, vhid: int = LAN_VHID) -> list[tuple[Master, float]]:
        """Each change of the master of a virtual host, and seconds until the next OFFER; infinite: there was none.

        Both nodes answer as the virtual address, so that nothing in an OFFER says whose it is.
        """
        found = [each for each in self.masters if each.vhid == vhid]
        # Two masters speak at once for a moment when the better one comes back: the last word counts.
        ends = [each for each, after in zip(found, [*found[1:], None], strict=True)
                if after is None or after.at - each.at > BOTH_MAX_S]  # fmt: skip
        changes = [each for before, each in pairwise(ends) if before.node != each.node]
        times = [offer.at for offer in self.offers]
        return [(each, min((at - each.at for at in times if at >= each.at), default=math.inf)) for each in changes]


class Clients:
    """The process of the clients."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._ledger: Ledger | None = None

    def wait_ready(self) -> None:
        """Until those that will renew hold an address."""
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != "ready":
            raise RuntimeError("the DHCP clients did not start")

    def stop(self) -> Ledger:
        """Ends them and reads what happened."""
        if self._ledger is None:
            ended_at = time.monotonic()
            out, _ = self._process.communicate("stop\n", timeout=END_S)
            self._ledger = Ledger.from_json(json.loads(out.splitlines()[-1]), ended_at)
        return self._ledger

    def kill(self) -> None:
        """Ends them at once, whatever they are doing."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


def favour(lab: Lab) -> None:
    """Everything in the lab goes before whatever else runs on this machine: for measurements, for all systems alike.

    Nice values only count within a session (``sched(7)``, "autogroup"), and each node is a session of its own.
    """
    for pid in lab.processes():
        with suppress(OSError):  # it has ended; or this kernel has no such groups
            Path(f"/proc/{pid}/autogroup").write_text(PRIORITY)


@contextmanager
def crowded(lab: Lab, *options: object, device: str = "eth0") -> Iterator[Clients]:
    """Clients on the lab's LAN, from the moment when those that renew have their lease."""
    argv = [sys.executable, str(Path(__file__).with_name("dhcp_clients.py")), device, *map(str, options)]
    clients = Clients(_started(lab.topology.namespace("client"), argv))
    try:
        clients.wait_ready()
        yield clients
    finally:
        clients.kill()


def _started(namespace: str, argv: Sequence[str]) -> subprocess.Popen[str]:
    start: Callable[[], subprocess.Popen[str]] = lambda: subprocess.Popen(  # noqa: E731 - a closure for a thread
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    return netns.inside(namespace, start)
