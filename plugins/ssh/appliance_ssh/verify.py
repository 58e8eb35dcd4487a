"""What ``[ssh]`` must satisfy beyond the types of its keys. Each path names the offending key."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.config import Config, ProvidesInterfaces
from appliance.errors import Problem
from appliance_ssh.accounts import number_of
from appliance_ssh.config import SshConfig, may_log_in, users_of

TABLE = "ssh"


def verify(config: Config) -> list[Problem]:
    """Every problem of the table."""
    return [*_interfaces(config), *_users(config)]


def _interfaces(config: Config) -> Iterator[Problem]:
    provider = config.providing(ProvidesInterfaces)
    known = provider.logical_interfaces() if provider else {}
    seen: set[str] = set()
    for index, name in enumerate(config[SshConfig].listen):
        path = (TABLE, "listen", index)
        interface = known.get(name)
        if interface is None:
            message = f"there is no interface {name!r} in [interfaces]; there are: {', '.join(known) or 'none'}"
            yield Problem(path=path, message=message)
        elif not interface.addresses:
            message = (
                f"{name} has no address of its own, and nobody logs in at a virtual one, which is another node's "
                "tomorrow: add `addresses`, or choose another interface"
            )
            yield Problem(path=path, message=message)
        if name in seen:
            yield Problem(path=path, message=f"{name} is there twice: remove one of them")
        seen.add(name)


def _users(config: Config) -> Iterator[Problem]:
    names: dict[int, str] = {}
    people = [user for user in users_of(config).values() if may_log_in(user)]
    for user in people:
        first = names.setdefault(number_of(user.name), user.name)
        if first != user.name:
            message = f"{user.name} and {first} would get the same number on this machine: choose another name"
            yield Problem(path=("users", user.name), message=message)
    if not people:
        message = (
            "nobody can log in: no operator and no viewer in [users] has ssh_keys; add the line of a .pub file to one"
        )
        yield Problem(path=(TABLE,), message=message, severity="warning")
