"""What a drill says at its end, as data; `drill_report` makes pages of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from appliance.lab.measure import ProbeResult

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One half of a rehearsal: something happens, or is put back."""

    title: str
    took_s: float
    """Until the roles had settled."""
    probes: tuple[ProbeResult, ...]
    """What clients measured; none when nobody did."""
    begun: float = 0.0
    """Unix time; 0: not noted."""
    ended: float = 0.0
    said: str = ""
    """What the node said about it."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """How one rehearsal went."""

    name: str
    title: str
    result: str = "passed"
    """``passed``, ``failed``, ``skipped`` or ``aborted``."""
    why: str = ""
    phases: list[Phase] = field(default_factory=list)
    looked_at: bool = False
    """Nothing happened, something was looked at; then `why` tells what was seen."""


@dataclass(slots=True, kw_only=True)
class Report:
    """A whole drill."""

    lab: str
    """Empty: a cluster in use."""
    started: str
    """RFC 3339."""
    outcomes: list[Outcome] = field(default_factory=list)
    restored: bool = True
    """Whether the cluster is as it was before."""
    error: str = ""
    """Why it is not, or why the drill did not begin."""
    node: str = ""
    """Of a cluster in use, where the drill ran."""
    client: str = ""
    """Who measured the losses, and to where; empty: the client of the lab, or nobody."""

    @property
    def place(self) -> str:
        """For people."""
        return self.lab or f"the cluster, from {self.node}"

    @property
    def passed(self) -> bool:
        """Whether all that was rehearsed went well, and something was."""
        done = [each for each in self.outcomes if each.result != "skipped"]
        rehearsed = any(not each.looked_at for each in done)
        return self.restored and not self.error and rehearsed and all(each.result == "passed" for each in done)

    def to_json(self) -> dict[str, Any]:
        """Plain data, as ``--json`` prints it."""
        data = asdict(self)
        rehearsals = data.pop("outcomes")
        return {**data, "passed": self.passed, "rehearsals": rehearsals}
