"""The words of this plugin: notices, messages, and why one was not delivered. Plain values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

DELIVER_S = 30.0
"""For one message, from the look at the server's name to its last word."""
FAILING = 3
"""Failures in a row after which there is an alarm."""


class Severity(IntEnum):
    """How bad it is; a target has a least severity."""

    INFO = 0
    WARNING = 1
    CRITICAL = 2

    def __str__(self) -> str:
        return self.name.lower()


class Kind(StrEnum):
    """Classes of notices; a target may want some of them only."""

    ROLE = "role"
    """This node's role for a virtual host."""
    PEER = "peer"
    """Another node is lost, found, or no healthy candidate any more."""
    GATEWAY = "gateway"
    """Alarms about gateways."""
    SYNC = "sync"
    """Alarms about configuration synchronization."""
    ALARM = "alarm"
    """All other alarms."""
    CONFIG = "config"
    """A configuration was applied or refused."""
    SERVICE = "service"
    """A service crashed, or runs again."""
    NODE = "node"
    """The node starts or stops, a handover has been measured, events were missed."""
    TEST = "test"
    """`notify test`; every target gets it."""


class State(StrEnum):
    """Whether a notice is about something that lasts."""

    EVENT = "event"
    RAISED = "raised"
    CLEARED = "cleared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing that happened."""

    id: str
    """Unique; the same in every attempt to deliver it, so that receivers can recognize a repetition."""
    at: float
    """Time of day, seconds since 1970."""
    kind: Kind
    severity: Severity
    state: State = State.EVENT
    key: str
    """What it is about. In one message the last word about a key stands for all earlier ones."""
    what: str
    fix: str = ""
    """What to do about it; empty when nothing has to be done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A notice in a message."""

    notice: Notice
    times: int = 1
    """How many notices about its key it stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is delivered at once."""

    node: str
    entries: tuple[Entry, ...]
    more: int = 0
    """Notices that are not in it, because there were too many."""


class DeliveryError(Exception):
    """A message was not delivered.

    Args:
        reason: One line for people.
        lasting: Whether trying the same message again cannot help.
    """

    def __init__(self, reason: str, *, lasting: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.lasting = lasting
