"""Schedules follow the clock on the wall, over midnight too."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from appliance_firewall.schedule import Schedule, make, parse_times, seconds_to_next_minute, set_name

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> datetime:
    """2024-01-01 was a Monday."""
    return datetime.fromisoformat(f"2024-01-{text}").replace(tzinfo=BERLIN)


def applies(schedule: Schedule, *times: str) -> list[bool]:
    return [schedule.applies(at(each)) for each in times]


def test_it_applies_from_the_first_minute_to_before_the_last() -> None:
    office = make("office", ["mon", "tue"], ["08:00-17:00"])
    times = ("01T07:59:59", "01T08:00", "01T16:59:59", "01T17:00", "02T08:00", "03T08:00")
    assert applies(office, *times) == [False, True, True, False, True, False]


def test_several_ranges_are_one_schedule() -> None:
    lunch = make("lunch", ["mon"], ["11:00-12:00", "13:00-14:00"])
    assert applies(lunch, "01T11:30", "01T12:30", "01T13:30") == [True, False, True]


def test_a_range_over_midnight_begins_on_its_day_and_ends_on_the_next() -> None:
    night = make("night", ["sun"], ["22:00-06:00"])
    times = ("07T21:59", "07T22:00", "08T05:59", "08T06:00", "08T22:00", "07T05:00")
    assert applies(night, *times) == [False, True, True, False, False, False]


def test_without_days_it_is_every_day_and_without_times_the_whole_day() -> None:
    assert applies(make("evening", [], ["18:00-24:00"]), "01T23:59", "06T18:00", "06T00:00") == [True, True, False]
    assert applies(make("monday", ["mon"], []), "01T00:00", "01T23:59:59", "02T00:00") == [True, True, False]


def test_it_keeps_its_hours_when_summer_time_begins() -> None:
    office = make("office", [], ["08:00-17:00"])
    for day in ("2024-03-30", "2024-03-31", "2024-04-01"):
        assert office.applies(datetime.fromisoformat(f"{day}T08:00").replace(tzinfo=BERLIN))
        assert not office.applies(datetime.fromisoformat(f"{day}T07:59").replace(tzinfo=BERLIN))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("8-17", "is no range of times"),
        ("8:00-17:00", "write it as 08:00-17:00"),
        ("08:60-17:00", "the times 00:00 to 24:00"),
        ("24:00-01:00", "the times 00:00 to 24:00"),
        ("08:00-24:01", "the times 00:00 to 24:00"),
        ("08:00-08:00", "is empty"),
    ],
)
def test_times_that_are_none_are_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_times(text)


def test_the_next_change_is_at_a_full_minute() -> None:
    assert seconds_to_next_minute(at("01T08:00:59.500000")) == 0.5
    assert seconds_to_next_minute(at("01T08:00:00")) == 60


def test_its_set_is_named_after_it() -> None:
    assert make("office", [], []).set_name == set_name("office") == "fw_schedule_office"
