"""Which gateway carries which connection of a group. Pure, and the same on every node.

A connection's addresses and port are hashed to one of `SLOTS` slots, and each slot belongs to a member. Who gets a
slot when its owner dies, and who after that, follows from the configuration alone. So two nodes that see the same
gateways alive choose the same ones, however they got there; when a member dies only its own slots move; and when it
returns exactly these move back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from appliance_gateways.monitor import Reading, Status

SLOTS = 64
"""Weights are met to one in 64; more slots make the map larger and nothing better."""

Trigger = Literal["down", "loss", "latency", "loss-or-latency"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A gateway in a group."""

    gateway: str
    tier: int = 1
    """The lowest tier with a usable member carries everything."""
    weight: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Gateways that stand in for each other."""

    name: str
    members: tuple[Member, ...]
    trigger: Trigger = "down"
    sticky: bool = False

    @property
    def map_name(self) -> str:
        """The nftables map from slots to numbers of gateways."""
        return f"gw_group_{self.name}"


def is_usable(reading: Reading, trigger: Trigger) -> bool:
    """Whether a gateway in this state may carry connections of a group with this trigger."""
    if reading.status is Status.DOWN:
        return False
    if reading.is_lossy and trigger in ("loss", "loss-or-latency"):
        return False
    return not (reading.is_slow and trigger in ("latency", "loss-or-latency"))


def live_members(group: Group, readings: Mapping[str, Reading]) -> tuple[int | None, tuple[Member, ...]]:
    """The best tier that has a usable member, and its usable members; no tier when there is none at all."""
    usable = [each for each in group.members if is_usable(readings.get(each.gateway, Reading()), group.trigger)]
    if not usable:
        return None, ()
    tier = min(each.tier for each in usable)
    return tier, tuple(each for each in usable if each.tier == tier)


def slots(group: Group, readings: Mapping[str, Reading]) -> tuple[str, ...]:
    """The gateway of each slot; no slots at all when no member is usable."""
    tier, live = live_members(group, readings)
    if tier is None:
        return ()
    candidates = {each.gateway: each.weight for each in group.members if each.tier == tier}
    owners = _owners(range(SLOTS), candidates, {each.gateway for each in live})
    return tuple(owners[slot] for slot in range(SLOTS))


def best(group: Group, readings: Mapping[str, Reading]) -> str | None:
    """The gateway that carries what cannot be balanced: the heaviest of the best tier, the first of equal ones."""
    _tier, live = live_members(group, readings)
    return max(live, key=lambda each: each.weight).gateway if live else None


def counted(owners: Sequence[str]) -> Mapping[str, int]:
    """How many slots each gateway has."""
    return Counter(owners)


def _owners(places: Sequence[int], candidates: Mapping[str, int], live: Collection[str]) -> dict[int, str]:
    """Owners of these slots: shared among all candidates, and what dead ones get, among the others, and so on."""
    found: dict[int, str] = {}
    for name, own in _shares(places, candidates).items():
        if name in live:
            found.update(dict.fromkeys(own, name))
        elif own:
            rest = {other: weight for other, weight in candidates.items() if other != name}
            found.update(_owners(own, rest, live))
    return found


def _shares(places: Sequence[int], candidates: Mapping[str, int]) -> dict[str, Sequence[int]]:
    """Slots by weight: whole parts first, what is left to the largest remainders, at least one for each if possible."""
    names, total = sorted(candidates), sum(candidates.values())
    sizes = {name: len(places) * candidates[name] // total for name in names}
    by_remainder = sorted(names, key=lambda name: (-(len(places) * candidates[name] % total), name))
    for name in by_remainder[: len(places) - sum(sizes.values())]:
        sizes[name] += 1
    for name in [each for each in names if not sizes[each]]:
        richest = max(names, key=lambda each: sizes[each])
        if sizes[richest] > 1:
            sizes[name], sizes[richest] = 1, sizes[richest] - 1
    shares: dict[str, Sequence[int]] = {}
    start = 0
    for name in names:
        shares[name] = places[start : start + sizes[name]]
        start += sizes[name]
    return shares
