"""How a part of the node learns who may do what, without knowing which table says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from appliance.errors import Problem

if TYPE_CHECKING:
    from appliance.config.model import Config

UserRole = Literal["operator", "viewer", "sync"]


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person, or a program, that this node knows by name."""

    name: str
    """On the control socket this is the login name of the operating system."""
    role: UserRole
    """``operator`` may do everything, ``viewer`` only look; ``sync`` is for the calls of other nodes."""
    hash: str | None = field(default=None, repr=False)
    """Of the password, as `appliance.identity.passwords` makes it; `None`: there is no password."""
    disabled: bool = False
    ssh_keys: tuple[str, ...] = ()
    """Public keys by which it may log in over SSH, ``TYPE BASE64`` without options and comment."""
    own: bool = False
    """Of this node alone (``nosync``): other nodes neither get it nor replace it."""

    @property
    def may_change(self) -> bool:
        """Whether it may change anything over some way in."""
        return not self.disabled and self.role in ("operator", "sync")


@runtime_checkable
class ProvidesUsers(Protocol):
    """A table that declares users."""

    def users(self) -> Mapping[str, User]:
        """All of them by name, also disabled ones; empty: no restriction is wanted."""
        ...


def console_problems(config: Config) -> list[Problem]:
    """Refuse a configuration whose ``console_login`` locks everybody out of the console."""
    users = [user for table in config.all_providing(ProvidesUsers) for user in table.users().values()]
    known = [user for user in users if user.role == "operator" and user.hash is not None and not user.disabled]
    if known or not config.node.console_login:
        return []
    message = "nobody could log in at the console: it needs an operator in [users] with a hash"
    return [Problem(path=("node", "console_login"), message=message)]
