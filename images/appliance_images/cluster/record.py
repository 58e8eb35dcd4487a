"""What an upgrade of a cluster remembers: on the disk of the node that leads it, so that it outlives a restart.

And what a node says of itself while it lasts, which is all that decisions are made from. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from appliance.errors import ApplianceError

FORMAT = 1
NOTES_MAX = 64
"""Lines of the story that are kept."""
TEXT_MAX = 500
LIST_MAX = 32


class Phase(StrEnum):
    """Where an upgrade is."""

    SEND = "send"
    """The other node is given the new system."""
    PEER_RESTARTS = "peer-restarts"
    """The other node starts it and has to prove healthy."""
    WRITE = "write"
    """This node writes it into its own slot."""
    SWITCH = "switchover"
    """The other node takes the virtual addresses."""
    OWN_RESTART = "own-restart"
    """This node starts it and has to prove healthy."""
    UNDO = "undo"
    """There was a doubt: the other node goes back to its old system."""
    DONE = "done"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        """Whether nothing is to be done any more."""
        return self in (Phase.DONE, Phase.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A node at one moment, in its own words."""

    node: str
    version: str
    slot: str
    """The slot it runs from."""
    is_good: bool
    """This slot boots next as well and has proved healthy."""
    boot: str
    """Another text after every start of the machine."""
    role: str
    """Of all virtual hosts: ``MASTER``, ``BACKUP``, ``MIXED``, ``INIT``, ``NONE``."""
    problems: tuple[str, ...] = ()
    """Why it is not as it should be; a reason to be demoted is one, and a peer that is not seen."""

    @property
    def is_ready(self) -> bool:
        """Whether it can be relied upon."""
        return self.is_good and not self.problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A node before the upgrade."""

    node: str
    version: str
    slot: str
    boot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An upgrade of a cluster."""

    file: str
    version: str
    """Of the new system."""
    own: Start
    peer: Start
    phase: Phase = Phase.SEND
    since: float = 0.0
    """When the phase began, in seconds since the epoch: it has to mean something after a restart."""
    asked: float = 0.0
    """When the last request of this phase was made."""
    why: str = ""
    """What the doubt was."""
    notes: tuple[tuple[float, str], ...] = field(default=())

    def become(self, phase: Phase, now: float, note: str) -> Record:
        """In another phase."""
        return replace(self, phase=phase, since=now, asked=0.0).noted(now, note)

    def noted(self, now: float, text: str) -> Record:
        """With another line of the story."""
        return replace(self, notes=(*self.notes, (now, text[:TEXT_MAX]))[-NOTES_MAX:])


def start_of(report: Report) -> Start:
    """What is remembered of a node before the upgrade."""
    return Start(node=report.node, version=report.version, slot=report.slot, boot=report.boot)


def encode(record: Record) -> bytes:
    """For the disk."""
    return json.dumps({"format": FORMAT, **asdict(record)}).encode()


def decode(raw: bytes) -> Record:
    """From the disk.

    Raises:
        ApplianceError: It is damaged.
    """
    try:
        data = json.loads(raw)
        if data.pop("format") != FORMAT:
            raise ValueError("it is of another format")
        notes = tuple((float(when), str(text)) for when, text in data.pop("notes"))
        own, peer = Start(**data.pop("own")), Start(**data.pop("peer"))
        return Record(own=own, peer=peer, notes=notes, phase=Phase(data.pop("phase")), **data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ApplianceError(
            f"what is remembered of the upgrade of the cluster is damaged: {error}",
            hint="Look at both nodes with `appliance image list` and finish by hand.",
        ) from error


def report_of(said: object) -> Report:
    """A report of another node.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(said, Mapping) or set(said) != {each.name for each in fields(Report)}:
        raise ValueError("it is no report")
    problems = said["problems"]
    if not isinstance(problems, list) or type(said["is_good"]) is not bool:
        raise ValueError("it is no report")
    texts: dict[str, Any] = {name: said[name] for name in ("node", "version", "slot", "boot", "role")}
    if not all(isinstance(each, str) and len(each) <= TEXT_MAX for each in (*texts.values(), *problems)):
        raise ValueError("its report has something that is no short text")
    return Report(**texts, is_good=said["is_good"], problems=tuple(problems[:LIST_MAX]))


def said(report: Report) -> dict[str, object]:
    """A report for another node."""
    return {**asdict(report), "problems": [each[:TEXT_MAX] for each in report.problems[:LIST_MAX]]}
