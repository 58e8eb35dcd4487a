"""Balancing: by weight, the same everywhere, and nothing moves that does not have to."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance_gateways.groups import SLOTS, Group, Member, Trigger, best, counted, is_usable, live_members, slots
from appliance_gateways.monitor import Reading, Status

DOWN = Reading(status=Status.DOWN)
ONLINE = Reading(status=Status.ONLINE)


def group(*members: tuple[str, int, int]) -> Group:
    """Members as name, tier and weight."""
    return Group(name="g", members=tuple(Member(gateway=n, tier=t, weight=w) for n, t, w in members))


def dead(*names: str) -> dict[str, Reading]:
    return dict.fromkeys(names, DOWN)


THREE = group(("a", 1, 1), ("b", 1, 1), ("c", 1, 2))


def test_slots_are_shared_by_weight() -> None:
    assert counted(slots(THREE, {})) == {"a": 16, "b": 16, "c": 32}
    assert counted(slots(group(("a", 1, 1), ("b", 1, 2)), {})) == {"a": 21, "b": 43}


def test_a_member_of_little_weight_still_gets_something() -> None:
    many = group(*((f"m{n:02}", 1, 30) for n in range(15)), ("small", 1, 1))
    owned = counted(slots(many, {}))
    assert owned["small"] == 1
    assert sum(owned.values()) == SLOTS


def test_only_the_slots_of_a_dead_member_move_and_they_come_back() -> None:
    all_live, without = slots(THREE, {}), slots(THREE, dead("c"))
    assert counted(without) == {"a": 32, "b": 32}
    assert all(before == after for before, after in zip(all_live, without, strict=True) if before != "c")
    assert slots(THREE, {"c": ONLINE}) == all_live


def test_the_next_tier_carries_everything_when_nobody_is_left() -> None:
    tiers = group(("a", 1, 1), ("b", 1, 1), ("lte", 2, 1))
    assert live_members(tiers, dead("a"))[0] == 1
    assert counted(slots(tiers, dead("a"))) == {"b": SLOTS}
    assert counted(slots(tiers, dead("a", "b"))) == {"lte": SLOTS}
    assert live_members(tiers, dead("a", "b")) == (2, (tiers.members[2],))


def test_nobody_left_means_no_slot_at_all() -> None:
    assert slots(THREE, dead("a", "b", "c")) == ()
    assert live_members(THREE, dead("a", "b", "c")) == (None, ())
    assert best(THREE, dead("a", "b", "c")) is None


def test_what_cannot_be_balanced_goes_to_the_heaviest_of_the_best_tier() -> None:
    assert best(THREE, {}) == "c"
    assert best(THREE, dead("c")) == "a"


@pytest.mark.parametrize(
    ("reading", "usable_for"),
    [
        (Reading(), {"down", "loss", "latency", "loss-or-latency"}),
        (ONLINE, {"down", "loss", "latency", "loss-or-latency"}),
        (DOWN, set()),
        (Reading(status=Status.LOSS, is_lossy=True), {"down", "latency"}),
        (Reading(status=Status.LATENCY, is_slow=True), {"down", "loss"}),
        (Reading(status=Status.LOSS, is_lossy=True, is_slow=True), {"down"}),
    ],
)
def test_the_trigger_says_what_makes_a_member_unusable(reading: Reading, usable_for: set[str]) -> None:
    triggers: tuple[Trigger, ...] = ("down", "loss", "latency", "loss-or-latency")
    assert {trigger for trigger in triggers if is_usable(reading, trigger)} == usable_for


GROUPS = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 30)), min_size=1, max_size=8).map(
    lambda each: group(*((f"m{number}", tier, weight) for number, (tier, weight) in enumerate(each)))
)


@settings(max_examples=100, deadline=None)
@given(GROUPS, st.lists(st.sets(st.integers(0, 7)), min_size=2, max_size=6))
def test_it_depends_on_who_is_alive_and_on_nothing_else(made: Group, deaths: list[set[int]]) -> None:
    found = []
    for each in deaths:
        readings = dead(*(f"m{number}" for number in each))
        owners = slots(made, readings)
        tier, live = live_members(made, readings)
        assert set(owners) <= {member.gateway for member in live}
        assert len(owners) == (SLOTS if live else 0)
        reordered = Group(name="g", members=tuple(reversed(made.members)))
        assert slots(reordered, readings) == owners, "the order in the file does not matter"
        found.append((tier, {member.gateway for member in live}, owners))
    for (tier, before, old), (next_tier, after, new) in pairwise(found):
        if tier is not None and tier == next_tier:
            for was, now in zip(old, new, strict=True):
                assert was == now or was not in after or now not in before, "no slot moves between two that stay"


@settings(max_examples=100, deadline=None)
@given(GROUPS)
def test_shares_are_within_one_slot_of_the_weights(made: Group) -> None:
    _tier, live = live_members(made, {})
    total = sum(member.weight for member in live)
    for member in live:
        owned = counted(slots(made, {})).get(member.gateway, 0)
        share = SLOTS * member.weight / total
        assert owned >= 1
        assert abs(owned - share) <= 1 + len(live)
