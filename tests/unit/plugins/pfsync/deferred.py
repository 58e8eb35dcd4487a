"""A protocol and a queue of packets for tests of deferral."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.net.conntrack import attributes as a
from appliance.net.conntrack.entry import Entry
from appliance_pfsync.flow import Flows
from appliance_pfsync.native.effects import PeerReport
from tests.unit.plugins.pfsync.ctmessages import event


def peer(name: str = "fw2", *, alive: bool = True) -> PeerReport:
    return PeerReport(
        name=name,
        address="10.9.9.2",
        version=1,
        secured=True,
        alive=alive,
        lag_s=None,
        states=None,
        bulk="idle",
        last_bulk_at=None,
        last_bulk_count=0,
        losses=0,
        counters={},
    )


class FakeProtocol:
    """Gives tickets, and remembers what it was offered."""

    def __init__(self, *peers: PeerReport) -> None:
        self.peers: Sequence[PeerReport] = peers or (peer(),)
        self.offered: list[Flows] = []

    def offer(self, flows: Flows, now: float, *, ack_wanted: bool = False) -> int:
        assert ack_wanted
        self.offered.append(flows)
        return len(self.offered)


class FakeQueue:
    """Packets that came, and the numbers of those that were let go, in that order."""

    def __init__(self) -> None:
        self.waiting: list[tuple[int, bytes]] = []
        self.accepted: list[int] = []
        self._last = 0

    def add(self, *entries: Entry) -> None:
        """Packets of these entries come; they are numbered from 1."""
        for entry in entries:
            self._last += 1
            self.waiting.append((self._last, event(entry)[a.BODY :]))

    def drain(self, max_packets: int) -> list[tuple[int, bytes]]:
        taken, self.waiting = self.waiting[:max_packets], self.waiting[max_packets:]
        return taken

    def accept(self, ids: Sequence[int]) -> None:
        self.accepted += ids
