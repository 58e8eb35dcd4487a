"""Where configurations are kept: the file an operator edits, and the numbered history behind it."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

import trio

from appliance import logs
from appliance.config.history import History, Revision, write_atomically
from appliance.config.loader import read_file
from appliance.errors import ApplianceError

T = TypeVar("T")
EDITED = ".edited"
"""Suffix of the copy of a file that somebody had edited and that was replaced before it was ever in force."""
PRIVATE = 0o600
"""Mode of a configuration file that did not exist before: it contains secrets."""


class ConfigStore:
    """File and history of one node."""

    def __init__(
        self,
        history: History,
        path: Path,
        *,
        keeps_file: bool = True,
        offload: bool = False,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Make it.

        Args:
            history: Where revisions are stored.
            path: The file that is the truth after a reboot.
            keeps_file: Write accepted changes to the file.
            offload: Write in a thread, because a disk may take long. Not with a virtual clock, which runs
                away while a thread works.
            wall: Time of day.
        """
        self.history = history
        self.path = path
        self._keeps_file, self._offload, self._wall = keeps_file, offload, wall

    def read(self) -> str:
        """The text of the file.

        Raises:
            ConfigError: It is missing, unreadable, too large or not UTF-8.
        """
        return read_file(self.path)

    async def record(self, text: str, *, comment: str, who: str) -> Revision:
        """Add a revision; on disk when this returns.

        Raises:
            ApplianceError: The state directory cannot be written.
        """
        when = self._wall()
        return await self._blocking(lambda: self.history.append(text, comment=comment, who=who, when=when))

    async def record_start(self, found: str, text: str) -> Revision:
        """The revision that a node begins with: the newest if it says this, else a new one.

        Args:
            found: What the file or the history said. An older system has to find it when it is started again.
            text: What is in force: the same, or what became of it by migration.

        Raises:
            ApplianceError: The state directory cannot be written.
        """
        latest = self.history.latest()
        if latest is not None and latest[1] == text:
            return latest[0]
        if found != text and (latest is None or latest[1] != found):
            await self.record(found, comment="found at start, of an older format", who="node")
        return await self.record(text, comment="found at start", who="node")

    async def write(self, text: str, *, known: Collection[str] = ()) -> str | None:
        """Replace the file, keeping its owner and mode; a link stays one. Returns the text it replaced.

        Args:
            text: The new text.
            known: What the file may say without being missed; anything else is kept in a copy beside it. Empty: all.

        Raises:
            ApplianceError: It cannot be written.
        """
        return await self._blocking(lambda: self._write(text, known)) if self._keeps_file else None

    async def _blocking(self, work: Callable[[], T]) -> T:
        if self._offload:
            return await trio.to_thread.run_sync(work)
        await trio.lowlevel.checkpoint()
        return work()

    def _write(self, text: str, known: Collection[str]) -> str | None:
        target = self.path.resolve()
        try:
            if not target.exists():
                write_atomically(target, text.encode(), mode=PRIVATE)
                return None
            found, old = target.stat(), target.read_bytes()
            if old == text.encode():
                return None
            mode, owner = stat.S_IMODE(found.st_mode), (found.st_uid, found.st_gid)
            if known and old not in [each.encode() for each in known]:
                copy = target.with_name(target.name + EDITED)
                write_atomically(copy, old, mode=mode, owner=owner)
                logs.logger(part="config").warning("edited_file_replaced", copy=str(copy))
            write_atomically(target, text.encode(), mode=mode, owner=owner)
        except OSError as error:
            raise ApplianceError(
                f"{self.path} cannot be written: {error.strerror}",
                hint="Make the file and its directory writable for the node; nothing has been changed.",
            ) from error
        return old.decode(errors="replace")
