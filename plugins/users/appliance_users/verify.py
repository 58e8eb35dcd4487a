"""What ``[users]`` must satisfy beyond the types of its keys. Pure; each path names the offending key."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.config import Config
from appliance.errors import Problem
from appliance.identity.passwords import hash_problem
from appliance_users.config import UsersConfig, UserTable
from appliance_users.sshkeys import key_problem, plain

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
    yield from _keys(name, user)
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


def _keys(name: str, user: UserTable) -> Iterator[Problem]:
    where = (TABLE, name, "ssh_keys")
    seen: dict[str, int] = {}
    for index, text in enumerate(user.ssh_keys):
        problem = key_problem(text)
        if problem:
            yield Problem(path=(*where, index), message=problem)
        elif seen.setdefault(plain(text), index) != index:
            yield Problem(path=(*where, index), message="this key is there twice: remove one of them")
    if not user.ssh_keys:
        return
    if name == ROOT:
        message = "root does not log in over SSH: give the key to an operator with another name"
        yield Problem(path=where, message=message)
    if user.role == "sync":
        message = "a user of the role sync does not log in: remove the keys, or give them to an operator or a viewer"
        yield Problem(path=where, message=message)
