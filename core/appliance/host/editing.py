"""Who edits the configuration of this node: one session each, with a candidate that is theirs alone.

A session lasts as long as the connection that opened it, so that nobody who has gone away is in the way.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from appliance.config.document import Document
from appliance.config.positions import KeyPath
from appliance.errors import RefusedError

SESSIONS_MAX = 16
"""More people than edit one firewall at a time; each candidate takes memory."""
EDITS_MAX = 10_000
"""Edits of one session that are remembered, to be made again on what others commit."""
Edit = Callable[[Document], Document]


@dataclass(slots=True, kw_only=True)
class EditSession:
    """One person who edits."""

    id: str
    who: str
    since: float
    """Time of the loop when it began, in seconds."""
    exclusive: bool
    base: Document
    """What was in force when it began, or when it last committed or updated."""
    base_revision: int
    candidate: Document
    place: KeyPath = ()
    """Where `edit` has gone."""
    edits: list[Edit] = field(default_factory=list)
    received: list[str] = field(default_factory=list)
    """Parts of a file that is being loaded."""

    @property
    def is_changed(self) -> bool:
        """Whether there is something to commit."""
        return self.candidate.text != self.base.text

    def restart(self, base: Document, revision: int) -> None:
        """Begin anew with what is in force."""
        self.base = self.candidate = base
        self.base_revision = revision
        self.edits.clear()
        while self.place and not self.candidate.has(self.place):
            self.place = self.place[:-1]


class EditSessions:
    """All sessions of one node."""

    def __init__(self) -> None:
        self._sessions: dict[str, EditSession] = {}

    def all(self) -> tuple[EditSession, ...]:
        """The oldest first."""
        return tuple(self._sessions.values())

    def find(self, id: str, *, who: str) -> EditSession:  # noqa: A002
        """The session of this number.

        Raises:
            RefusedError: There is none, or it is somebody else's.
        """
        found = self._sessions.get(id)
        if found is None or found.who != who:
            raise RefusedError("this editing session has ended", hint="Begin again with `configure`.")
        return found

    @contextmanager
    def editing(
        self, *, who: str, now: float, exclusive: bool, text: str, name: str, revision: int
    ) -> Iterator[EditSession]:
        """A session while the block lasts.

        Raises:
            RefusedError: Somebody edits alone, or too many edit.
        """
        self._refuse(now, exclusive=exclusive)
        base = Document(text, name=name)
        session = EditSession(
            id=secrets.token_hex(8),
            who=who,
            since=now,
            exclusive=exclusive,
            base=base,
            base_revision=revision,
            candidate=base,
        )
        self._sessions[session.id] = session
        try:
            yield session
        finally:
            del self._sessions[session.id]

    def _refuse(self, now: float, *, exclusive: bool) -> None:
        for session in self._sessions.values():
            if session.exclusive or exclusive:
                how = "edits the configuration exclusively" if session.exclusive else "edits the configuration"
                raise RefusedError(
                    f"{session.who} {how}, for {now - session.since:.0f} s now",
                    hint=f"Wait until {session.who} leaves configuration mode"
                    + ("." if session.exclusive else ", or `configure` without exclusive."),
                )
        if len(self._sessions) >= SESSIONS_MAX:
            raise RefusedError(
                f"{SESSIONS_MAX} sessions edit already", hint="Close some: `configure status` lists them."
            )
