"""What ``[users]`` must satisfy beyond the types of its keys. Pure; each path names the offending key."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.config import Config
from appliance.errors import Problem
from appliance.identity.passwords import hash_problem
from appliance_users.config import UsersConfig, UserTable

TABLE = "users"
ROOT = "root"


def verify(config: Config) -> list[Problem]:
    """Every problem of the table."""
    return [problem for name, user in config[UsersConfig].root.items() for problem in _user(name, user)]


def _user(name: str, user: UserTable) -> Iterator[Problem]:
    where = (TABLE, name)
    wrong = hash_problem(user.hash.get_secret_value()) if user.hash is not None else None
    if wrong:
        yield Problem(path=(*where, "hash"), message=f"{wrong}; `appliance user password` makes one")
    if name == ROOT and (user.role != "operator" or user.disabled):
        message = "root of this machine may do everything, whatever is here: give somebody else this entry"
        yield Problem(path=where, message=message)
    if user.role != "sync":
        return
    if user.hash is None:
        message = (
            "a user of the role sync proves itself by a password: add its hash, `appliance user password` makes one"
        )
        yield Problem(path=(*where, "role"), message=message)
    if not user.nosync:
        # The receiver of a new hash would ask for the new password when the sender, which still has the old one,
        # confirms: such a push would always be taken back.
        message = (
            "a user of the role sync belongs to one node: add nosync = true, and write the entry on every node that "
            "is to be called"
        )
        yield Problem(path=(*where, "role"), message=message)
