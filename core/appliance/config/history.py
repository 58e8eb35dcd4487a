"""The numbered history of configurations: one file per revision, written whole or not at all.

A revision is a valid TOML file: a first line with who, when and why as JSON in a comment, then the text as
it was applied. An operator can read, compare and copy it without this program. The first line also holds
a checksum, so that a damaged file is reported instead of being rolled back to.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import ApplianceError, RefusedError

REVISIONS_MAX = 100
"""Revisions kept: months of ordinary work, and at most 100 MiB with the largest file that is read."""
HEADER_MAX_BYTES = 16384
"""Largest first line: comment and name are cut when written."""
COMMENT_MAX = 500
"""Characters of a comment or a name that are kept."""

_MARK = "# appliance revision "
_NAME = re.compile(r"(\d{8})\.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One entry of the history, without its text."""

    number: int
    when: float
    """Seconds since the epoch; 0 when unreadable."""
    who: str
    comment: str
    damage: str = ""
    """Why the entry cannot be used; empty when it can."""


class History:
    """The history in one directory, which is created with its first revision."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def append(self, text: str, *, comment: str, who: str, when: float) -> Revision:
        """Store a text under the next number; on disk when this returns.

        Raises:
            ApplianceError: The directory cannot be written.
        """
        numbers = self._numbers()
        revision = Revision(
            number=(numbers[-1] if numbers else 0) + 1,
            when=when,
            who=who[:COMMENT_MAX],
            comment=comment[:COMMENT_MAX],
        )
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for leftover in self._directory.glob("*.new"):  # of a write that lost its power
                leftover.unlink(missing_ok=True)
            write_atomically(self._path(revision.number), _encode(revision, text), mode=0o600)
            for number in [*numbers, revision.number][:-REVISIONS_MAX]:
                self._path(number).unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(self._directory, error) from error
        return revision

    def revisions(self) -> tuple[Revision, ...]:
        """All entries, oldest first; a damaged one says so and hides no other."""
        return tuple(self._read_header(number) for number in self._numbers())

    def latest(self) -> tuple[Revision, str] | None:
        """The newest entry that is not damaged, with its text."""
        for number in reversed(self._numbers()):
            try:
                return self.read(number)
            except ApplianceError:
                continue
        return None

    def read(self, number: int) -> tuple[Revision, str]:
        """One entry with its text.

        Raises:
            RefusedError: There is no such revision, or its file is damaged.
        """
        numbers = self._numbers()
        if number not in numbers:
            kept = f"{numbers[0]} to {numbers[-1]}" if numbers else "none"
            hint = f"Revisions that are kept: {kept}; see `appliance config history`."
            raise RefusedError(f"there is no revision {number}", hint=hint)
        path = self._path(number)
        try:
            return _decode(number, path.read_bytes())
        except (OSError, ValueError) as error:
            hint = "Choose another revision; all others are unaffected."
            raise RefusedError(f"revision {number} is damaged: {path}: {_reason(error)}", hint=hint) from error

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:08d}.toml"

    def _numbers(self) -> list[int]:
        return sorted(self._found())

    def _found(self) -> Iterator[int]:
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _unwritable(self._directory, error) from error
        for name in names:
            match = _NAME.fullmatch(name)
            if match:
                yield int(match[1])

    def _read_header(self, number: int) -> Revision:
        try:
            with self._path(number).open("rb") as file:
                return _decode_header(number, file.readline(HEADER_MAX_BYTES))[0]
        except (OSError, ValueError) as error:
            return Revision(number=number, when=0.0, who="", comment="", damage=_reason(error))


def write_atomically(path: Path, data: bytes, *, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Replace a file so that after a loss of power it is the old or the new one, never half of one."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            if owner is not None and owner != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), *owner)
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)  # the new name is on disk as well
    finally:
        os.close(directory)


def _encode(revision: Revision, text: str) -> bytes:
    body = text.encode()
    header = {
        "revision": revision.number,
        "when": revision.when,
        "who": revision.who,
        "comment": revision.comment,
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    # ASCII and without line ends, so the first line of the file is the header and stays a TOML comment.
    return (_MARK + json.dumps(header)).encode() + b"\n" + body


def _decode_header(number: int, line: bytes) -> tuple[Revision, str]:
    text = line.decode("ascii")
    if not text.startswith(_MARK) or not text.endswith("\n"):
        raise ValueError("the first line is not that of a revision")
    header = json.loads(text.removeprefix(_MARK))
    try:
        revision = Revision(
            number=int(header["revision"]),
            when=float(header["when"]),
            who=str(header["who"]),
            comment=str(header["comment"]),
        )
        checksum = str(header["sha256"])
    except (KeyError, TypeError) as error:
        raise ValueError("the first line lacks something") from error
    if revision.number != number:
        raise ValueError(f"the file says that it is revision {revision.number}")
    return revision, checksum


def _decode(number: int, raw: bytes) -> tuple[Revision, str]:
    line, newline, body = raw.partition(b"\n")
    revision, checksum = _decode_header(number, line + newline)
    if hashlib.sha256(body).hexdigest() != checksum:
        raise ValueError("the text is not the one that was written (its checksum differs)")
    return revision, body.decode()


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return "the first line is not that of a revision"
    return str(error)


def _unwritable(directory: Path, error: OSError) -> ApplianceError:
    return ApplianceError(
        f"the configuration history in {directory} cannot be used: {error.strerror}",
        hint="Make the state directory writable and check that its disk is not full.",
    )
