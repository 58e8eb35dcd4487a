"""What this node's configuration is at the moment, as digests of its sections; computed once for each revision."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import trio

from appliance.errors import RefusedError
from appliance.events import ConfigApplied
from appliance.events.config import ConfigState, GetConfig, GetSections, Section
from appliance.plugin import Context, Subscription

TRIES = 3
"""Commits in a row during one look at the configuration; operators do not type that fast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """All sections of one revision."""

    revision: int
    sections: Mapping[str, Section]
    """By name, with their data."""

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 by name."""
        return {name: section.digest for name, section in self.sections.items()}


class Facts:
    """Asks the core, and only again when there is a new revision.

    Args:
        ctx: Of the service.
        applied: A subscription of its own to `ConfigApplied` that coalesces: the core publishes a revision in the same
            step in which it becomes the one in force, so what is in the queue is never late.
    """

    def __init__(self, ctx: Context, applied: Subscription[ConfigApplied]) -> None:
        self._ctx, self._applied = ctx, applied
        self._turn = trio.Lock()
        self._revision = 0
        self._picture: Picture | None = None
        self._state: tuple[int, ConfigState] | None = None

    @property
    def revision(self) -> int:
        """The revision in force; 0 while the node starts."""
        while True:
            try:
                self._revision = self._applied.receive_nowait().revision
            except trio.WouldBlock:
                return self._revision

    async def picture(self) -> Picture:
        """The sections in force.

        Raises:
            ApplianceError: The core cannot tell.
        """
        async with self._turn:
            for _ in range(TRIES):
                revision = self.revision
                if self._picture is not None and self._picture.revision == revision:
                    return self._picture
                sections = await self._ctx.call(GetSections())
                if self.revision == revision:
                    self._picture = Picture(revision=revision, sections={each.name: each for each in sections})
                    return self._picture
        raise RefusedError("the configuration changes all the time", hint="Nothing to do: it is tried again.")

    async def state(self) -> ConfigState:
        """Addresses and schemas of this revision; `unconfirmed_s` is that of the first look."""
        revision = self.revision
        if self._state is None or self._state[0] != revision:
            self._state = (revision, await self._ctx.call(GetConfig()))
        return self._state[1]


def utc_offset_s() -> int:
    """How far this node's local time is ahead of UTC at the moment; a zone that an operator has changed counts."""
    time.tzset()
    offset = datetime.now(UTC).astimezone().utcoffset()
    return round(offset.total_seconds()) if offset is not None else 0
