"""What this node knows of one other node, and what has to be done next. Sans-IO.

Theory. Every lease goes to every node that is `up`, and its client hears of it when they all have it. A node that does
not take one in time is no longer up: nobody waits for it any more, and our *epoch* towards it changes. The epoch is a
promise: whoever has once fetched all leases since it began has got every change since. At each hello both sides say
their epoch and which epoch of the other they have everything of; who has less fetches all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from appliance_dhcp_failover.wire import Hello, PoolSummary

HELLO_S = 1.0
"""Between hellos, and after a failure until the next."""
CLOCKS_WARN_S, CLOCKS_FAIL_S = 5.0, 30.0
"""Leases do not depend on clocks that agree; logs, certificates of others, and people do."""
DIFFERENT_MAX = 3
"""Hellos in a row with other leases than ours, while nothing changes, until all are fetched again."""


class PeerState(StrEnum):
    """How a node is, seen from here."""

    SYNCHRONIZED = "synchronized"
    """Each has the other's leases, and no client hears of one that only one of both has."""
    SYNCHRONIZING = "synchronizing"
    UNREACHABLE = "unreachable"
    OFF = "off"
    """Leases are not replicated."""


@dataclass(frozen=True, slots=True)
class Greet:
    """Say hello."""


@dataclass(frozen=True, slots=True)
class Pull:
    """Fetch all leases; `epoch` is what will have been fetched then."""

    epoch: str


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do until then."""

    until: float


Todo = Greet | Pull | Rest


class Link:
    """One other node.

    Args:
        boot: Another text at every start of this node's service.
        now: Seconds on a clock that never goes back.
    """

    def __init__(self, boot: str, now: float) -> None:
        self._boot = boot
        self._lost = 0
        self._next = now
        self._hello: Hello | None = None
        self._pulled = ""
        self._different = 0
        self.up = False
        """Whether leases are sent and waited for."""
        self.skew_s = 0.0
        """How much its clock is ahead."""
        self.error = "not heard of yet"
        """Why it is not up."""

    @property
    def epoch(self) -> str:
        """Of our changes to it."""
        return f"{self._boot}.{self._lost}"

    @property
    def pulled(self) -> str:
        """Its epoch of which everything is here."""
        return self._pulled

    @property
    def name(self) -> str:
        """As it says itself; empty before."""
        return self._hello.node if self._hello else ""

    @property
    def pools(self) -> Mapping[str, PoolSummary]:
        """What it said of its pools; nothing while it is not up."""
        return self._hello.pools if self._hello and self.up else {}

    @property
    def has_all_of_theirs(self) -> bool:
        """Whether this node could serve its clients."""
        return self.up and self._hello is not None and self._pulled == self._hello.epoch

    @property
    def state(self) -> PeerState:
        """For people."""
        if not self.up or self._hello is None:
            return PeerState.UNREACHABLE
        if self.has_all_of_theirs and self._hello.pulled == self.epoch:
            return PeerState.SYNCHRONIZED
        return PeerState.SYNCHRONIZING

    def todo(self, now: float) -> Todo:
        """What to do now."""
        if now >= self._next:
            return Greet()
        if self.up and self._hello is not None and self._pulled != self._hello.epoch:
            return Pull(self._hello.epoch)
        return Rest(self._next)

    def greeted(self, hello: Hello, skew_s: float, digests: Mapping[str, str], now: float) -> None:
        """It answered.

        Args:
            hello: Its answer.
            skew_s: How much its clock is ahead.
            digests: Of our pools, empty for those that are changing.
            now: The present.
        """
        self._hello, self.skew_s = hello, skew_s
        self.up, self.error = True, ""
        self._next = now + HELLO_S
        self._compare(digests)

    def heard(self, hello: Hello) -> None:
        """It said hello by itself: there is news before our own next hello."""
        if self.up:
            self._hello = hello

    def failed(self, why: str, now: float) -> None:
        """It did not answer. What was on its way counts as lost."""
        if self.up:
            self._lost += 1
        self.up, self.error = False, why
        self._next = now + HELLO_S

    def missed(self) -> None:
        """There was a change that it was not sent."""
        self._lost += 1

    def fetched(self, epoch: str) -> None:
        """All its leases of this epoch are here."""
        self._pulled = epoch
        self._different = 0

    def hurry(self, now: float) -> None:
        """Say hello now."""
        self._next = min(self._next, now)

    def next_deadline(self) -> float:
        """When `todo` may be another one."""
        return self._next if self._next else math.inf

    def _compare(self, digests: Mapping[str, str]) -> None:
        """Leases that are not the same although nothing changes: something was lost on the way."""
        both = [(digests.get(name, ""), each.digest) for name, each in self.pools.items()]
        if any(ours and theirs and ours != theirs for ours, theirs in both):
            self._different += 1
        elif any(ours and theirs for ours, theirs in both):
            self._different = 0
        if self._different >= DIFFERENT_MAX:
            self._pulled = ""
            self._different = 0
