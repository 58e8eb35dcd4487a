"""What a traffic probe found out, and how it is computed from what was sent and answered."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any

NS_PER_MS = 1_000_000
SLICE_MS = 100
"""Resolution of losses over time: short enough to show a takeover, long enough for a hundred datagrams."""
PAUSE_MIN_MS = 5.0
"""Of a connection: shorter ones are how it works, and how a busy machine schedules."""
PAUSES_MAX = 500
"""More than any drill makes; of a line that loses all the time the longest are kept."""
SURVIVAL_WINDOW_MS = 500
"""A probe survived when something was answered in its last half second."""


class ProbeKind(StrEnum):
    """Which traffic."""

    UDP = "udp"
    """Numbered datagrams, 1000 per second, echoed by the server."""
    PING = "ping"
    """ICMP echo, 100 per second."""
    DOWNLOAD = "download"
    """One TCP connection that receives about 50 Mbit/s."""
    INTERACTIVE = "interactive"
    """One TCP connection, small questions and answers, 100 per second."""
    CONNECTIONS = "connections"
    """A new TCP connection 50 times per second, one byte each way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """What one probe measured."""

    kind: ProbeKind
    sent: int
    """Datagrams, questions, connections; for a download the chunks received."""
    lost: int
    """Sent and never answered."""
    duplicates: int = 0
    reordered: int = 0
    longest_gap_ms: float = 0.0
    """Longest time without service: from the first lost one to the next that was answered. For one TCP
    connection: the longest wait for an answer, or between two arrivals."""
    gap_at: float = 0.0
    """When that gap began, on the monotonic clock."""
    survived: bool
    """It still worked at the end, on the same connection if it is one."""
    slowest_ms: float = 0.0
    """Longest time from sending to the answer, of those that were answered."""
    late_ms: float = 0.0
    """How late the sender itself was at worst: a busy machine, not the network under test."""
    received_bytes: int = 0
    seconds: float = 0.0
    loss_percent: tuple[int, ...] = ()
    """Share that was lost of what was sent in each `SLICE_MS`; numbered packets only."""
    began: float = 0.0
    """Unix time when it began, by the clock of the machine that measured."""
    slices: tuple[tuple[int, int], ...] = ()
    """Sent and lost in each `SLICE_MS`; numbered packets only."""
    pauses: tuple[tuple[float, float], ...] = ()
    """Times without service, in order: when each began, in ms since the beginning, and its length in ms. The longest
    `PAUSES_MAX`; those of a connection not shorter than `PAUSE_MIN_MS`."""

    def to_json(self) -> dict[str, object]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ProbeResult:
        """The inverse of `to_json`; unknown keys are ignored."""
        known = {field.name for field in fields(cls)}
        values = {key: value for key, value in data.items() if key in known}
        parsed: dict[str, Any] = {"kind": ProbeKind(values["kind"])}
        parsed["loss_percent"] = tuple(values.get("loss_percent", ()))
        for name in ("slices", "pauses"):
            parsed[name] = tuple(tuple(pair) for pair in values.get(name, ()))
        return cls(**(values | parsed))

    def sentence(self) -> str:
        """For people."""
        state = "survived" if self.survived else "did not survive"
        if self.kind is ProbeKind.DOWNLOAD:
            mbits = self.received_bytes * 8 / 1e6 / self.seconds if self.seconds else 0.0
            rate = f"{mbits:.0f} Mbit/s, " if mbits else ""
            return f"{rate}longest pause {self.longest_gap_ms:.0f} ms, {state}"
        extra = f", {self.duplicates} duplicates" if self.duplicates else ""
        lost = f"{self.lost} of {self.sent} lost{extra}, " if self.sent else ""
        return f"{lost}longest gap {self.longest_gap_ms:.0f} ms, {state}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Statistics of numbered packets."""

    lost: int
    duplicates: int
    longest_gap_ns: int
    gap_start_ns: int
    survived: bool
    pauses: tuple[tuple[float, float], ...] = ()
    """As `ProbeResult.pauses`."""


class Pauses:
    """Times without service, the longest of them."""

    def __init__(self, min_ms: float = 0.0) -> None:
        self._min_ns = min_ms * NS_PER_MS
        self._kept: list[tuple[int, int]] = []

    def note(self, start_ns: int, end_ns: int) -> None:
        """One of them."""
        if end_ns - start_ns < self._min_ns:
            return
        add = heapq.heappush if len(self._kept) < PAUSES_MAX else heapq.heappushpop
        add(self._kept, (end_ns - start_ns, start_ns))

    def since(self, begun_ns: int) -> tuple[tuple[float, float], ...]:
        """In order of time, in ms."""
        return tuple(
            (round((start - begun_ns) / NS_PER_MS, 1), round(length / NS_PER_MS, 1))
            for start, length in sorted((start, length) for length, start in self._kept)
        )


def losses(sent_ns: Sequence[int], answers: Sequence[int], end_ns: int) -> Losses:
    """Computes losses from the time each number was sent and how often it was answered.

    A gap lasts from the sending of its first lost packet to the sending of the next answered one: the
    clock decides, not the count, so a sender that stalls does not hide a part of it.
    """
    lost = duplicates = longest = longest_start = 0
    gap_start: int | None = None
    last_answered: int | None = None
    pauses = Pauses()
    for sent, answered in zip(sent_ns, answers, strict=True):
        if answered:
            duplicates += answered - 1
            last_answered = sent
            if gap_start is not None:
                pauses.note(gap_start, sent)
                if sent - gap_start > longest:
                    longest, longest_start = sent - gap_start, gap_start
            gap_start = None
        else:
            lost += 1
            gap_start = sent if gap_start is None else gap_start
    if gap_start is not None:
        pauses.note(gap_start, end_ns)
        if end_ns - gap_start > longest:
            longest, longest_start = end_ns - gap_start, gap_start
    survived = last_answered is not None and end_ns - last_answered <= SURVIVAL_WINDOW_MS * NS_PER_MS
    return Losses(
        lost=lost,
        duplicates=duplicates,
        longest_gap_ns=longest,
        gap_start_ns=longest_start,
        survived=survived,
        pauses=pauses.since(sent_ns[0]) if sent_ns else (),
    )


def percent(slices: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Share that was lost in each slice; 0 where nothing was sent."""
    return tuple(round(100 * lost / sent) if sent else 0 for sent, lost in slices)


def over_time(sent_ns: Sequence[int], answers: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """How many packets of each `SLICE_MS` since the first were sent, and how many of them never answered."""
    if not sent_ns:
        return ()
    places = [(sent - sent_ns[0]) // (SLICE_MS * NS_PER_MS) for sent in sent_ns]
    sent = Counter(places)
    lost = Counter(place for place, answered in zip(places, answers, strict=True) if not answered)
    return tuple((sent[place], lost[place]) for place in range(places[-1] + 1))


def window(result: ProbeResult, begin: float, end: float) -> ProbeResult:
    """What a probe measured between two moments.

    Args:
        result: Of the whole time.
        begin: Unix time, by the clock of the machine that measured.
        end: The same.
    """
    first_ms, last_ms = (begin - result.began) * 1000, (end - result.began) * 1000
    slices = result.slices[max(0, int(first_ms // SLICE_MS)) : max(0, math.ceil(last_ms / SLICE_MS))]
    pauses = [pause for pause in result.pauses if first_ms <= pause[0] <= last_ms]
    at, longest = max(pauses, key=lambda pause: pause[1], default=(0.0, 0.0))
    if slices:
        survived = any(sent > lost for sent, lost in slices[-SURVIVAL_WINDOW_MS // SLICE_MS :])
    else:
        # One connection, measured until it broke.
        survived = result.survived or result.began + result.seconds > end
    return replace(
        result,
        sent=sum(sent for sent, _ in slices),
        lost=sum(lost for _, lost in slices),
        duplicates=0,
        reordered=0,
        longest_gap_ms=longest,
        gap_at=at,
        slowest_ms=longest,
        survived=survived,
        received_bytes=0,
        seconds=end - begin,
        loss_percent=percent(slices),
        began=max(begin, result.began),
        slices=slices,
        pauses=tuple((round(start - max(0.0, first_ms), 1), length) for start, length in pauses),
    )
