"""What of this node's configuration came from another node, and what has been changed here since. Pure.

The ledger holds a digest for every section that was received and confirmed. A section whose digest is another one now
has been changed on this node: it has drifted, and the next push overwrites it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

LEDGER_MAX = 256 * 1024
"""Bytes of the ledger's file."""
SECTIONS_MAX = 256
"""Sections that are remembered; a node declares some thirty."""
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where the content of a section is from."""

    digest: str
    """SHA-256 of its canonical form, as received."""
    sender: str
    """Name of the node that sent it."""
    at: float
    """Seconds since the epoch, by the clock of this node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A section was changed on this node after it had been received."""

    who: str
    since: float
    """Seconds since the epoch when the change was noticed, which is when it was committed if the node was running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """All of it."""

    origins: Mapping[str, Origin] = field(default_factory=dict)
    staged: Mapping[str, Origin] = field(default_factory=dict)
    """Sections that are about to be confirmed. Written before the confirmation: a node that dies in between finds out
    by their digests which configuration it has."""
    drifts: Mapping[str, Drift] = field(default_factory=dict)


def stage(ledger: Ledger, digests: Mapping[str, str], *, sender: str, at: float) -> Ledger:
    """The ledger before these sections are confirmed."""
    return replace(ledger, staged={name: Origin(digest=each, sender=sender, at=at) for name, each in digests.items()})


def settle(ledger: Ledger, digests: Mapping[str, str]) -> Ledger:
    """The ledger with what was staged, as far as the configuration in force has it.

    Args:
        ledger: As it was, perhaps before a crash.
        digests: Of the sections in force.
    """
    arrived = {name: each for name, each in ledger.staged.items() if digests.get(name) == each.digest}
    drifts = {name: each for name, each in ledger.drifts.items() if name not in arrived}
    return replace(ledger, origins={**ledger.origins, **arrived}, staged={}, drifts=drifts)


def observe(ledger: Ledger, digests: Mapping[str, str], *, who: str, now: float) -> Ledger:
    """The ledger after a change of the configuration on this node.

    Args:
        ledger: As it was.
        digests: Of the sections in force.
        who: Who has made the change.
        now: Seconds since the epoch.
    """
    drifts = {
        name: ledger.drifts.get(name, Drift(who=who, since=now))
        for name, origin in ledger.origins.items()
        if name in digests and digests[name] != origin.digest
    }
    return replace(ledger, drifts=drifts)


def fresh(before: Ledger, after: Ledger) -> tuple[str, ...]:
    """Sections that have drifted between the two."""
    return tuple(sorted(set(after.drifts) - set(before.drifts)))


def warning(ledger: Ledger, names: Iterable[str], *, refused: bool) -> str:
    """What an operator is told who has changed these sections here."""
    listed = sorted(names)
    senders = sorted({ledger.origins[name].sender for name in listed if name in ledger.origins})
    one = len(listed) == 1
    subject = f"{', '.join(listed)} {'is' if one else 'are'} synchronized from {', '.join(senders)}"
    if refused:
        return f"{subject} and {'was' if one else 'were'} changed here: it is refused there until this is undone"
    return f"changed here and not on {', '.join(senders)}, which will overwrite it: {', '.join(listed)}"


# --- on disk -----------------------------------------------------------------------------------------------


def encode(ledger: Ledger) -> bytes:
    """The ledger as the text of its file."""
    data = {
        "version": _VERSION,
        "origins": _rows(ledger.origins),
        "staged": _rows(ledger.staged),
        "drifts": {name: {"who": each.who, "since": each.since} for name, each in ledger.drifts.items()},
    }
    return json.dumps(data, indent=1, sort_keys=True).encode()


def decode(text: bytes) -> Ledger:
    """The ledger of a file.

    Raises:
        ValueError: It is malformed; says how.
    """
    try:
        data = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(data, dict) or data.get("version") != _VERSION:
        raise ValueError(f"it is not of version {_VERSION}")
    drifts = {name: _drift(row) for name, row in _table(data, "drifts").items()}
    origins, staged = (
        {name: _origin(row) for name, row in _table(data, part).items()} for part in ("origins", "staged")
    )
    return Ledger(origins=origins, staged=staged, drifts=drifts)


def _rows(origins: Mapping[str, Origin]) -> dict[str, dict[str, Any]]:
    return {name: {"digest": each.digest, "sender": each.sender, "at": each.at} for name, each in origins.items()}


def _table(data: Mapping[str, Any], part: str) -> Mapping[str, Any]:
    table = data.get(part)
    if not isinstance(table, dict) or len(table) > SECTIONS_MAX:
        raise ValueError(f"{part} is no table of at most {SECTIONS_MAX} sections")
    return table


def _origin(row: object) -> Origin:
    match row:
        case {"digest": str(digest), "sender": str(sender), "at": float(at) | int(at)}:
            return Origin(digest=digest, sender=sender, at=float(at))
    raise ValueError("an origin is not a digest, a sender and a time")


def _drift(row: object) -> Drift:
    match row:
        case {"who": str(who), "since": float(since) | int(since)}:
            return Drift(who=who, since=float(since))
    raise ValueError("a drift is not a name and a time")
