"""What a traffic probe found out, and how it is computed from what was sent and answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

NS_PER_MS = 1_000_000
SLICE_MS = 100
"""Resolution of losses over time: short enough to show a takeover, long enough for a hundred datagrams."""
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

    def to_json(self) -> dict[str, object]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ProbeResult:
        """The inverse of `to_json`; unknown keys are ignored."""
        known = {field.name for field in fields(cls)}
        values = {key: value for key, value in data.items() if key in known}
        parsed = {"kind": ProbeKind(values["kind"]), "loss_percent": tuple(values.get("loss_percent", ()))}
        return cls(**(values | parsed))

    def sentence(self) -> str:
        """For people."""
        state = "survived" if self.survived else "did not survive"
        if self.kind is ProbeKind.DOWNLOAD:
            mbits = self.received_bytes * 8 / 1e6 / self.seconds if self.seconds else 0.0
            return f"{mbits:.0f} Mbit/s, longest pause {self.longest_gap_ms:.0f} ms, {state}"
        extra = f", {self.duplicates} duplicates" if self.duplicates else ""
        return f"{self.lost} of {self.sent} lost{extra}, longest gap {self.longest_gap_ms:.0f} ms, {state}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Statistics of numbered packets."""

    lost: int
    duplicates: int
    longest_gap_ns: int
    gap_start_ns: int
    survived: bool


def losses(sent_ns: Sequence[int], answers: Sequence[int], end_ns: int) -> Losses:
    """Computes losses from the time each number was sent and how often it was answered.

    A gap lasts from the sending of its first lost packet to the sending of the next answered one: the
    clock decides, not the count, so a sender that stalls does not hide a part of it.
    """
    lost = duplicates = longest = longest_start = 0
    gap_start: int | None = None
    last_answered: int | None = None
    for sent, answered in zip(sent_ns, answers, strict=True):
        if answered:
            duplicates += answered - 1
            last_answered = sent
            if gap_start is not None and sent - gap_start > longest:
                longest, longest_start = sent - gap_start, gap_start
            gap_start = None
        else:
            lost += 1
            gap_start = sent if gap_start is None else gap_start
    if gap_start is not None and end_ns - gap_start > longest:
        longest, longest_start = end_ns - gap_start, gap_start
    survived = last_answered is not None and end_ns - last_answered <= SURVIVAL_WINDOW_MS * NS_PER_MS
    return Losses(
        lost=lost,
        duplicates=duplicates,
        longest_gap_ns=longest,
        gap_start_ns=longest_start,
        survived=survived,
    )


def loss_over_time(sent_ns: Sequence[int], answers: Sequence[int]) -> tuple[int, ...]:
    """Percent of the packets of each `SLICE_MS` since the first that were never answered; 0 where none was sent."""
    if not sent_ns:
        return ()
    places = [(sent - sent_ns[0]) // (SLICE_MS * NS_PER_MS) for sent in sent_ns]
    sent = Counter(places)
    lost = Counter(place for place, answered in zip(places, answers, strict=True) if not answered)
    return tuple(round(100 * lost[place] / sent[place]) if sent[place] else 0 for place in range(places[-1] + 1))
