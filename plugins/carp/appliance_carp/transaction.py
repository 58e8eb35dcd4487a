"""Changing what a digest covers on all nodes without an advert that somebody rejects: accept first, then send.

Theory of operation
===================

The digest of an advert covers VHID, password and addresses. Two nodes that get such a change one after the other
reject each other in between, and both become MASTER. Here every node holds *editions* of a virtual host:

- *active*: what is in force (addresses, virtual MAC) and normally sent;
- *wanted*: what the configuration says. As long as it is another one, it is staged: accepted, but not used;
- *kept*: editions that were active or wanted; accepted as long as somebody may send them.

A node accepts all of them, and its hellos tell them all. There are two rules:

1. **Switch** (active := wanted) when every peer that knows the virtual host says that the new edition is its active
   or its wanted one. The old one is kept.
2. **Drop** a kept edition when no peer has it active and `KEEP_S` are over, which is much more than the age at which
   a hello is too old to be believed.

So nobody sends what somebody does not accept. The epoch of a change is the moment in which the last node has staged
it; every node switches when it learns of that. Nobody has to decide for all, no clocks are compared, a lost hello
delays and harms nothing, and nodes need not switch at the same moment: between the first and the last one both
editions are accepted everywhere. (An epoch announced by one node would need agreement on who that is, and on what
happens when the announcement arrives at some.)

A peer that is away cannot say that it accepts anything: the change waits for it, or is forced. When it comes back with
the old edition, rule 3 lets it understand us until its configuration has arrived:

3. **Send** the active edition; but while a living peer does not accept it, the newest kept one that all do.

A revert while staged makes the old edition wanted again; nothing was sent of the other one. A second change replaces
the first, whose edition is kept, because a peer may just have switched to it.

Pure: no I/O, ``now`` is an argument.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

KEEP_S = 60.0
"""Seconds an edition that is not used any more is accepted at least; a hello is believed for 3.5 s."""
KEPT_MAX = 3
"""Editions kept; when more changes follow each other that quickly the oldest is given up."""


class Edition(NamedTuple):
    """What nodes have to agree on to understand each other's adverts of one virtual host."""

    vhid: int
    mark: bytes
    """`hello.fingerprint` of password, VHID and addresses."""


@dataclass(frozen=True, slots=True)
class Stance:
    """What one peer has said of the virtual host."""

    name: str
    alive: bool
    active: Edition | None
    """``None``: it is known only by name, from before our own start."""
    wanted: Edition | None = None
    """What it has staged, if anything."""
    kept: frozenset[Edition] = frozenset()

    def is_willing(self, edition: Edition) -> bool:
        """Whether it uses this edition or is going to."""
        return edition in (self.active, self.wanted)

    def accepts(self, edition: Edition) -> bool:
        """Whether it understands adverts of this edition."""
        return self.is_willing(edition) or edition in self.kept


@dataclass(slots=True)
class Transaction:
    """The editions of one virtual host."""

    active: Edition
    wanted: Edition = field(init=False)
    kept: dict[Edition, float] = field(default_factory=dict)
    """Oldest first, with the time until which each is accepted whatever peers say."""

    def __post_init__(self) -> None:
        self.wanted = self.active

    @property
    def is_open(self) -> bool:
        """Whether a change is staged."""
        return self.wanted != self.active

    @property
    def accepted(self) -> tuple[Edition, ...]:
        """What is understood, the most likely first."""
        staged = (self.wanted,) if self.is_open else ()
        return (self.active, *staged, *self.kept)

    def want(self, edition: Edition, now: float) -> None:
        """Stage what the configuration says from now on."""
        if edition == self.wanted:
            return
        former, self.wanted = self.wanted, edition
        self.kept.pop(edition, None)
        if former != self.active:
            self._keep(former, now)

    def restore(self, edition: Edition, now: float) -> None:
        """Keep what was accepted before a restart."""
        if edition not in (self.active, self.wanted):
            self._keep(edition, now)

    def waits_for(self, peers: Collection[Stance], *, absent_too: bool) -> list[Stance]:
        """The peers that have not staged what is staged here; those that are away only if they matter."""
        if not self.is_open:
            return []
        return [peer for peer in peers if (peer.alive or absent_too) and not peer.is_willing(self.wanted)]

    def switch(self, now: float) -> None:
        """Use what is staged."""
        former, self.active = self.active, self.wanted
        self._keep(former, now)

    def sending(self, peers: Collection[Stance]) -> Edition:
        """What all living peers understand, the active edition if possible."""
        living = [peer for peer in peers if peer.alive and peer.active is not None]
        for edition in (self.active, *reversed(self.kept)):
            if all(peer.accepts(edition) for peer in living):
                return edition
        return self.active

    def drop(self, peers: Collection[Stance], now: float) -> bool:
        """Forget kept editions that nobody sends any more; whether there were any."""
        if any(peer.active is None for peer in peers):
            return False
        used = {peer.active for peer in peers}
        gone = [edition for edition, until in self.kept.items() if now >= until and edition not in used]
        for edition in gone:
            del self.kept[edition]
        return bool(gone)

    def _keep(self, edition: Edition, now: float) -> None:
        self.kept.pop(edition, None)
        self.kept[edition] = now + KEEP_S
        while len(self.kept) > KEPT_MAX:
            del self.kept[next(iter(self.kept))]
