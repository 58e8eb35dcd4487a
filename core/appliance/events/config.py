"""Requests about the configuration of this node, answered by its core. Texts hold secrets and are never shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
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


class Kind(StrEnum):
    """How a key differs."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChange:
    """One key that differs; values are as a file would write them, secrets redacted, long ones cut."""

    where: str
    """``firewall.rule[web].port``; ``entries[]`` is a plain value in a list."""
    kind: Kind
    old: str | None
    new: str | None

    def __str__(self) -> str:
        if self.kind is Kind.ADDED:
            return f"+ {self.where} = {self.new}"
        if self.kind is Kind.REMOVED:
            return f"- {self.where} = {self.old}"
        return f"~ {self.where}: {self.old} -> {self.new}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionChanges:
    """In which keys a section of another node is not what it should be."""

    name: str
    keys: tuple[KeyChange, ...]
    """Old: what the other node has. New: what it should have."""
    more: bool
    """There are more than are listed."""


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
class CompareSections(Request[tuple[SectionChanges, ...]]):
    """What a push of this node's sections would change on another node, without secrets.

    Args:
        theirs: Data by name of the section, as the other node has them. Which are known here are compared.
        receiver: As for `GetSections`.
        rank: As for `GetSections`.
        keys_max: Keys that are listed of each section.
    """

    theirs: Hidden
    receiver: Mapping[str, tuple[str, ...]]
    rank: int = 1
    keys_max: int = 200


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
