"""The lock file of a build: exactly which Debian packages and wheels went in, by version and hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from appliance.errors import ApplianceError

FORMAT = 1
LOCK_MAX_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Pin:
    """One input file."""

    name: str
    version: str
    file: str
    """Its name in the cache."""
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """All inputs of an image that come from elsewhere."""

    date: int
    """Seconds since 1970: the newest package list when it was made. Every file in the image carries this time."""
    suite: str
    wanted: tuple[str, ...]
    """What was asked for: Debian packages, and ``python:REQUIREMENT``; a lock for something else is not used."""
    debs: tuple[Pin, ...] = field(default=())
    kernel: tuple[Pin, ...] = field(default=())
    wheels: tuple[Pin, ...] = field(default=())

    def fits(self, suite: str, wanted: Sequence[str]) -> bool:
        """Whether it was made for the same wishes."""
        return (self.suite, self.wanted) == (suite, tuple(wanted))

    def text(self) -> str:
        """What is written: one pin a line, so that a change of version is a change of one line."""
        values = asdict(self)
        lines = [
            f'  "format": {FORMAT}',
            *(f'  "{key}": {json.dumps(values[key])}' for key in ("date", "suite", "wanted")),
        ]
        for key in ("debs", "kernel", "wheels"):
            pins = ",\n    ".join(json.dumps(pin) for pin in values[key])
            lines.append(f'  "{key}": [\n    {pins}\n  ]' if pins else f'  "{key}": []')
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @property
    def base_key(self) -> str:
        """Names the base system that is made from these packages.

        What was asked for counts as well: of the pinned ones, those are installed that something else needs.
        """
        return _key(self.date, self.debs, sorted(name for name in self.wanted if ":" not in name))

    @property
    def site_key(self) -> str:
        """Names the folder of Python packages that is made from these wheels, compiled by this Python."""
        return _key(self.date, [*self.wheels, *(pin for pin in self.debs if "python3" in pin.name)])


def _key(date: int, pins: Sequence[Pin], asked: Sequence[str] = ()) -> str:
    return hashlib.sha256(repr((date, asked, [(pin.file, pin.sha256) for pin in pins])).encode()).hexdigest()[:16]


def read(path: Path) -> Lock:
    """The lock in this file.

    Raises:
        ApplianceError: It cannot be read or is no lock of ours.
    """
    try:
        with path.open("rb") as file:
            values = json.loads(file.read(LOCK_MAX_BYTES))
        if values.pop("format") != FORMAT:
            raise ValueError("another format")
        return _lock(values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ApplianceError(
            f"{path} is not a lock file of images: {error}",
            hint="Remove it to have a new one made, or name another one.",
        ) from error


def _lock(values: dict[str, Any]) -> Lock:
    kinds = {key: tuple(Pin(**pin) for pin in values.pop(key)) for key in ("debs", "kernel", "wheels")}
    return Lock(date=int(values["date"]), suite=str(values["suite"]), wanted=tuple(values["wanted"]), **kinds)


def sha256_of(path: Path) -> str:
    """Hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
