"""Requests about the configuration of this node, answered by its core. Texts hold secrets and are never shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from appliance.events.base import Request, request


class Hidden:
    """A value that traces, logs and error messages do not show."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "<hidden>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hidden) and self.value == other.value

    def __hash__(self) -> int:
        return hash(repr(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One section of the configuration as it travels."""

    name: str
    owner: str
    """Plugin that declares it."""
    digest: str
    """SHA-256 of its canonical form."""
    data: Hidden
    """Tables with the section's keys, as TOML has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigState:
    """The configuration in force."""

    revision: int
    text: Hidden
    unconfirmed_s: float | None
    addresses: Mapping[str, tuple[str, ...]]
    """Own addresses by logical interface."""
    schemas: Mapping[str, str]
    """Digest of the shape of each plugin's table: equal where two nodes understand the same."""


@request
class GetConfig(Request[ConfigState]):
    """The configuration in force."""


@request
class GetSections(Request[tuple[Section, ...]]):
    """All sections, as another node should have them.

    Args:
        receiver: Own addresses of that node by logical interface; ``None``: as this node has them, to be compared.
        rank: 1 for the first other node, 2 for the second.
    """

    receiver: Mapping[str, tuple[str, ...]] | None = None
    rank: int = 1


@request
class PrepareSections(Request[Hidden]):
    """The text of this node's configuration with sections of another node in it, validated whole.

    Raises `ConfigError` with every problem, or `RefusedError` for a section nobody here declares.
    """

    sections: Hidden
    """Data by name of the section."""


@request
class ApplyConfig(Request[int]):
    """Make this text the configuration; its revision.

    With `confirm_within_s` it rolls back by itself unless it is confirmed.
    """

    text: Hidden
    comment: str
    who: str
    confirm_within_s: float | None = None


@request
class ConfirmConfig(Request[int]):
    """Keep the change that waits to be confirmed; its revision."""

    revision: int
    """Has to be the one in force."""
    who: str


@request
class RevertConfig(Request[int]):
    """Take the change back that waits to be confirmed; the revision then in force."""

    revision: int
    who: str
