"""The pydantic models of ``[users]`` and their translation into what others need of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import ConfigDict, Field, RootModel

from appliance.config import Model, User, UserRole
from appliance.config.types import Secret
from appliance_users.settings import Settings, UserRow
from appliance_users.sshkeys import KEY_MAX, plain

USERS_MAX = 64
KEYS_MAX = 16
"""SSH keys of one user: one for each machine it works at."""
UserName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._@-]{0,63}$")]
"""No colon and no blank: HTTP separates user and password by the first, and no login name has the second."""


class UserTable(Model):
    """``[users.NAME]``: one user."""

    role: UserRole
    """``operator`` may do everything, ``viewer`` only look, ``sync`` only push configuration from another node."""
    hash: Secret | None = None
    """Hash of the password, ``scrypt$15$8$1$SALT$HASH``; `appliance user password` makes one. The control socket needs
    none: the kernel says who is there."""
    ssh_keys: Annotated[list[Annotated[str, Field(max_length=KEY_MAX)]], Field(max_length=KEYS_MAX)] = []
    """Public keys by which it logs in over SSH (plugin `ssh`), each a line of a ``.pub`` file: type, key, comment."""
    disabled: bool = False
    """Keep the entry, and let the user do nothing."""
    description: Annotated[str, Field(max_length=200)] = ""
    """For people."""
    nosync: bool = False
    """Of this node alone: it is not sent to the other nodes, and theirs do not replace it."""


class UsersConfig(Model, RootModel[dict[UserName, UserTable]]):
    """``[users]``: who may do what with this node, by name."""

    # A root model has no keys of its own that could be forbidden.
    model_config = ConfigDict(extra=None)

    root: Annotated[dict[UserName, UserTable], Field(max_length=USERS_MAX)]
    """Users by name; on the control socket that is the login name."""

    def users(self) -> Mapping[str, User]:
        """All of them by name (`appliance.config.ProvidesUsers`)."""
        return {
            name: User(
                name=name,
                role=table.role,
                hash=table.hash.get_secret_value() if table.hash is not None else None,
                disabled=table.disabled,
                ssh_keys=tuple(plain(key) for key in table.ssh_keys),
                own=table.nosync,
            )
            for name, table in self.root.items()
        }


def settings_of(config: UsersConfig) -> Settings:
    """What the service tells about them: everything but the hashes."""
    return Settings(
        users=tuple(
            UserRow(
                name=name,
                role=table.role,
                has_password=table.hash is not None,
                ssh_keys=len(table.ssh_keys),
                disabled=table.disabled,
                nosync=table.nosync,
                description=table.description,
            )
            for name, table in config.root.items()
        )
    )
