"""Which flow a state belongs to: a bounded database of (id, creatorid), keys and flows.

Conntrack has one entry where pf has two states, and neither kernel knows the other's names. An entry here is a
`Pair`; it lasts until both of its states are gone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto

from appliance_pfsync.bsd import convert
from appliance_pfsync.bsd.actions import Direction
from appliance_pfsync.bsd.records import Record
from appliance_pfsync.bsd.state import State
from appliance_pfsync.bsd.wire import Identity

STATES_MAX = 1 << 20
"""About half a million flows, and some 600 bytes of memory for each state."""


class Queued(Enum):
    """In which queue of what is to be sent a state waits; it waits in at most one."""

    NOWHERE = auto()
    INS = auto()
    UPD = auto()
    UPD_C = auto()


@dataclass(slots=True, eq=False)
class Known:
    """A state that this node knows, its own or a peer's."""

    state: State
    pair: Pair
    heard_at: float = float("-inf")
    """When a peer last told about it."""
    queued: Queued = Queued.NOWHERE
    updates: int = 0
    """Changes since it waits."""
    ack_wanted: bool = False
    is_gone: bool = False
    """It was deleted or forgotten. What it said about the flow still counts as long as the other state lives."""

    @property
    def is_queued(self) -> bool:
        """Something newer about it than any table waits to be sent."""
        return self.queued is not Queued.NOWHERE


@dataclass(slots=True, eq=False)
class Pair:
    """The states of one flow."""

    inward: Known | None = None
    outward: Known | None = None
    record: Record | None = None
    """The flow as it was last told to the kernel or by it; `None` if Linux has no such flow."""
    is_expired: bool = False
    """The kernel's copy ran out; the peers have been asked for it."""
    told_at: float = math.inf
    """When the peers were last told that its packets pass here; infinite while they pass elsewhere."""
    is_wanted: bool = False
    """A peer asked for it, and the kernel has been asked how it is."""

    @property
    def states(self) -> list[Known]:
        """Those that live."""
        return [each for each in (self.inward, self.outward) if each is not None and not each.is_gone]

    def to_record(self, now: float) -> Record | None:
        """What its states say."""
        inward = self.inward.state if self.inward is not None else None
        outward = self.outward.state if self.outward is not None else None
        return convert.to_record(inward, outward, now)


class Identities:
    """All pairs of this node. The oldest one goes when there are too many."""

    def __init__(self, random_bytes: Callable[[int], bytes], limit: int = STATES_MAX) -> None:
        self.creator = int.from_bytes(random_bytes(4), "big") or 1
        """This node's creatorid."""
        self._next_id = (int.from_bytes(random_bytes(4), "big") or 1) << 32
        self._limit = limit
        self._by_id: dict[Identity, Known] = {}
        self._by_wire: dict[bytes, Known] = {}
        self._by_flow: dict[bytes, Pair] = {}
        self._halves: dict[bytes, Pair] = {}
        """Pairs that lack one of their states, by what both have in common."""

    def __len__(self) -> int:
        return len(self._by_id)

    def find(self, identity: Identity) -> Known | None:
        """The state of this name."""
        return self._by_id.get(identity)

    def find_flow(self, key: bytes) -> Pair | None:
        """The pair of this flow."""
        return self._by_flow.get(key)

    def pairs(self) -> list[Pair]:
        """All pairs that are flows, the oldest first."""
        return list(self._by_flow.values())

    def states(self) -> list[Known]:
        """All states, the oldest first."""
        return list(self._by_id.values())

    # --- more ------------------------------------------------------------------------------------------------

    def next_names(self) -> tuple[Identity, Identity]:
        """Names for the two states of a flow of this node."""
        self._next_id += 2
        return (self._next_id - 1, self.creator), (self._next_id, self.creator)

    def in_the_way(self, states: Iterable[State]) -> list[Pair]:
        """Pairs that have a state with the key of one of these: their flows must have ended unnoticed."""
        twins = [self._by_wire.get(_wire_key(state)) for state in states]
        return list({id(twin.pair): twin.pair for twin in twins if twin is not None}.values())

    def create(self, record: Record, states: tuple[State, State]) -> Pair:
        """Take in a flow of this node with its IN and OUT state. Nothing must be in their way."""
        pair = Pair()
        pair.inward, pair.outward = Known(states[0], pair), Known(states[1], pair)
        self._add(pair.inward)
        self._add(pair.outward)
        self.bind(pair, record)
        return pair

    def adopt(self, state: State, now: float) -> tuple[Known, Pair | None]:
        """Take in a peer's state of a new name, and put it beside its other half if that is here.

        Returns:
            The state, and the pair that had to go because the same flow is translated otherwise now.
        """
        twin = self._by_wire.get(_wire_key(state))
        if twin is not None and twin.state.stack == state.stack:
            # BSD refuses a second name for one flow. But a peer that names it anew has lost the first name, in a
            # restart or because an INS did not arrive: its deletion could never be understood.
            self._by_id.pop(twin.state.identity, None)
            twin.state, twin.heard_at, twin.is_gone = state, now, False
            self._by_id[state.identity] = twin
            return twin, None
        replaced = twin.pair if twin is not None else None
        if replaced is not None:
            self.remove(replaced)
        known = Known(state, self._pair_for(state), heard_at=now)
        if state.direction == Direction.OUT:
            known.pair.outward = known
        else:
            known.pair.inward = known
        self._add(known)
        return known, replaced

    def _pair_for(self, state: State) -> Pair:
        if state.direction not in tuple(Direction):
            return Pair()
        middle = convert.middle_of(state)
        half = self._halves.get(middle)
        wanted = "outward" if state.direction == Direction.OUT else "inward"
        if half is not None and getattr(half, wanted) is None:
            del self._halves[middle]
            return half
        self._halves[middle] = pair = Pair()
        return pair

    def _add(self, known: Known) -> None:
        while len(self._by_id) >= self._limit:
            self.remove(next(iter(self._by_id.values())).pair)
        self._by_id[known.state.identity] = known
        self._by_wire[_wire_key(known.state)] = known

    def bind(self, pair: Pair, record: Record | None) -> None:
        """Note which flow a pair is now."""
        if pair.record is not None and self._by_flow.get(pair.record.key) is pair:
            del self._by_flow[pair.record.key]
        pair.record = record
        if record is not None:
            self._by_flow[record.key] = pair

    def clear(self) -> None:
        """Forget everything."""
        for known in list(self._by_id.values()):
            known.is_gone = True
        for index in (self._by_id, self._by_wire, self._by_flow, self._halves):
            index.clear()

    # --- less ------------------------------------------------------------------------------------------------

    def retire(self, known: Known) -> bool:
        """A state was deleted; whether it was the last one of its pair, which then goes too."""
        known.is_gone = True
        self._by_id.pop(known.state.identity, None)
        if known.pair.states:
            return False
        self.remove(known.pair)
        return True

    def remove(self, pair: Pair) -> None:
        """Forget a pair. Its record stays readable."""
        for known in (pair.inward, pair.outward):
            if known is not None:
                self._drop(known)
        if pair.record is not None and self._by_flow.get(pair.record.key) is pair:
            del self._by_flow[pair.record.key]

    def _drop(self, known: Known) -> None:
        known.is_gone = True
        if self._by_id.get(known.state.identity) is known:
            del self._by_id[known.state.identity]
        wire = _wire_key(known.state)
        if self._by_wire.get(wire) is known:
            del self._by_wire[wire]
        middle = convert.middle_of(known.state)
        if self._halves.get(middle) is known.pair:
            del self._halves[middle]


def _wire_key(state: State) -> bytes:
    return bytes((state.wire_family, state.proto, state.direction)) + state.wire
