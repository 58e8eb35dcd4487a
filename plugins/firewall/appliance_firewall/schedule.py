"""Schedules: when a rule applies, by the clock on the wall. Pure.

The kernel's own ``meta hour`` and ``meta day`` are not used. nft turns hours into UTC with the offset of the moment
at which the ruleset is loaded, so half a year later they are one hour wrong; the kernel takes the day from UTC
without that offset; and a range that crosses midnight in UTC matches nothing. So each schedule is a set that the
service `clock` fills while it applies and empties when it does not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

MINUTES_A_DAY = 24 * 60
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIMES = re.compile(r"^([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})$")


@dataclass(frozen=True, slots=True)
class Schedule:
    """Days and ranges of minutes; a range that ends before it begins lasts until the next day."""

    name: str
    days: frozenset[int]
    """0 is Monday."""
    times: tuple[tuple[int, int], ...]
    """Minutes after midnight: the first of the range, and the first after it."""

    @property
    def set_name(self) -> str:
        """The set of the ruleset that is not empty while it applies."""
        return set_name(self.name)

    def applies(self, now: datetime) -> bool:
        """Whether it does at this local time."""
        minute = now.hour * 60 + now.minute
        today, yesterday = now.weekday(), (now.weekday() - 1) % 7
        for begin, end in self.times:
            if begin < end:
                if today in self.days and begin <= minute < end:
                    return True
            elif (today in self.days and minute >= begin) or (yesterday in self.days and minute < end):
                return True
        return False


def set_name(schedule: str) -> str:
    """The set of the ruleset that stands for a schedule."""
    return f"fw_schedule_{schedule}"


def seconds_to_next_minute(now: datetime) -> float:
    """Schedules change at full minutes only."""
    following = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    return (following - now).total_seconds()


def parse_times(text: str) -> tuple[int, int]:
    """``08:00-17:00`` as minutes after midnight; ``24:00`` is the end of the day.

    Raises:
        ValueError: It is no range of times; the text is for the operator.
    """
    found = _TIMES.match(text)
    if found is None:
        raise ValueError(f"{text!r} is no range of times; write it as 08:00-17:00")
    hours, minutes, until_hours, until_minutes = (int(part) for part in found.groups())
    begin, end = hours * 60 + minutes, until_hours * 60 + until_minutes
    if minutes > 59 or until_minutes > 59 or begin >= MINUTES_A_DAY or end > MINUTES_A_DAY:
        raise ValueError(f"{text}: a day has the times 00:00 to 24:00")
    if begin == end:
        raise ValueError(f"{text} is empty; the whole day is 00:00-24:00")
    return begin, end


def make(name: str, days: Sequence[str], times: Sequence[str]) -> Schedule:
    """A schedule as it was written; without days or times it is every day or the whole day."""
    ranges = tuple(parse_times(text) for text in times) or ((0, MINUTES_A_DAY),)
    return Schedule(name, frozenset(DAYS.index(day) for day in days or DAYS), ranges)
