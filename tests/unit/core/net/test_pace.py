"""Repairs are quick, and slow down when somebody keeps undoing them."""

from __future__ import annotations

from appliance.net.pace import CALM_S, SETTLE_S, SLOWEST_S, RepairPace


def test_a_fight_slows_repairs_down_to_two_a_minute_and_is_noticed() -> None:
    pace, now, delays = RepairPace(), 100.0, []
    for _ in range(15):
        delay = pace.delay_s(now)
        delays.append(delay)
        now += delay
        pace.repaired(now)
    assert delays[0] == SETTLE_S
    assert delays == sorted(delays)
    assert delays[-1] == SLOWEST_S
    assert pace.is_fight


def test_after_a_calm_minute_repairs_are_quick_again() -> None:
    pace = RepairPace()
    for _ in range(8):
        pace.repaired(100.0)
    assert pace.is_fight
    assert pace.delay_s(100.0 + CALM_S) == SETTLE_S
    assert not pace.is_fight


def test_an_occasional_repair_is_no_fight() -> None:
    pace = RepairPace()
    for hour in range(100):
        pace.repaired(hour * 3600.0)
        assert not pace.is_fight
