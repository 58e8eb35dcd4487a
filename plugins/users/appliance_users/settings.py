"""What the service of this plugin is told: plain frozen values without secrets."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRow:
    """One user as it is shown."""

    name: str
    role: str
    has_password: bool = False
    ssh_keys: int = 0
    """How many."""
    disabled: bool = False
    nosync: bool = False
    description: str = ""

    def data(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All users, in the order of the file."""

    users: tuple[UserRow, ...] = ()
