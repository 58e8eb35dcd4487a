"""Who may do what over the control socket.

Root and the user the node runs as may do everything, whatever the configuration says: nobody can be locked out by a
mistake in it. The others are members of the group ``appliance``; as soon as the configuration has users, they are
looked up there by their login name. Every decision is made with the configuration in force at that moment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import trio

from appliance.config import Config, ProvidesUsers, User
from appliance.config.syntax import parse
from appliance.errors import RefusedError
from appliance.plugin import Command

TABLE = "users"
"""The core owns no table of users, but it has to notice one that is not in force."""
NOBODY = "console"
"""Who runs a command when nobody asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who is at the other end of the control socket, by the word of the kernel."""

    name: str
    """Login name."""
    trusted: bool = False
    """Root, or the user the node runs as."""


class Access:
    """Decides by the users of the configuration in force.

    Args:
        config: Gives the configuration in force.
    """

    def __init__(self, config: Callable[[], Config]) -> None:
        self._config = config
        self._looked: tuple[Config, bool] | None = None

    async def refuse_stranger(self, caller: Caller) -> None:
        """Refuse who may not even look.

        Raises:
            RefusedError: It says why, and what to do.
        """
        if caller.trusted:
            return
        config = self._config()
        users = _users(config)
        if users is None and await self._has_table(config):
            raise RefusedError(
                f"the table [{TABLE}] of this node is not in force, so only root may control it",
                hint="As root: `appliance check` and `appliance show plugins` say why; correct it, "
                "then `appliance config reload`.",
            )
        if not users:
            return
        user = users.get(caller.name)
        if user is None:
            raise RefusedError(
                f"there is no user {caller.name} in [{TABLE}]",
                hint=f'As root, add it: [{TABLE}.{caller.name}] with role = "operator" or role = "viewer".',
            )
        if user.disabled:
            raise RefusedError(
                f"the user {caller.name} is disabled", hint=f"As root, remove `disabled` from [{TABLE}.{caller.name}]."
            )
        if user.role not in ("operator", "viewer"):
            raise RefusedError(
                f"the user {caller.name} has the role {user.role}, which is for calls of other nodes only",
                hint="Use another user for this node's commands.",
            )

    def refuse_change(self, caller: Caller, command: Command) -> None:
        """Refuse a command that changes something to a user who may only look.

        Raises:
            RefusedError: It says why, and what to do.
        """
        if caller.trusted or command.reads:
            return
        users = _users(self._config())
        user = users.get(caller.name) if users else None
        if users and (user is None or not _is_operator(user)):
            raise RefusedError(
                f"the user {caller.name} may only look; `{' '.join(command.path)}` changes something",
                hint=f'Let an operator do it, or as root set role = "operator" in [{TABLE}.{caller.name}].',
            )

    async def _has_table(self, config: Config) -> bool:
        """Whether the file has users although no plugin speaks for them: it is refused, blocked or not installed."""
        if self._looked is None or self._looked[0] is not config:
            # Large files take seconds; the node's loop has none.
            data = await trio.to_thread.run_sync(parse, config.text, config.path)
            self._looked = (config, bool(data.get(TABLE)))
        return self._looked[1]


def _is_operator(user: User) -> bool:
    return user.role == "operator" and not user.disabled


def _users(config: Config) -> dict[str, User] | None:
    """All users by name; `None` when no table in force declares any."""
    tables = config.all_providing(ProvidesUsers)
    return {name: user for table in tables for name, user in table.users().items()} if tables else None
