"""Who may use the console of an image: everybody in front of the machine, or, with ``console_login``, its operators."""

from __future__ import annotations

import getpass
import syslog
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.console.wizard.askers import Asker, Question
from appliance.errors import ApplianceError
from appliance.identity.passwords import verify_password

WAIT_S, WAIT_MAX_S = 1.0, 30.0
"""After the first wrong password; doubled by each further one."""
NAME_MAX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """Who is asked for."""

    is_open: bool = True
    """Nobody is."""
    hashes: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Of the passwords of operators, by name."""


def accounts_of(config: Path) -> Accounts:
    """Whom the configuration wants; open when there is none or it cannot be read, because then it is to be repaired.

    The file is read and not the node asked: the console is needed most when the node does not run.
    """
    try:
        tables = tomllib.loads(config.read_text())
    except (OSError, ValueError):
        return Accounts()
    node = tables.get("node")
    if not isinstance(node, dict) or node.get("console_login") is not True:
        return Accounts()
    return Accounts(is_open=False, hashes=dict(_operators(tables.get("users"))))


def _operators(users: Any) -> Iterator[tuple[str, str]]:
    for name, user in users.items() if isinstance(users, dict) else ():
        if not isinstance(user, dict) or user.get("role") != "operator" or user.get("disabled"):
            continue
        if isinstance(user.get("hash"), str):
            yield name, user["hash"]


def let_in(
    accounts: Accounts,
    asker: Asker,
    sleep: Callable[[float], None],
    secret: Callable[[str], str] = getpass.getpass,
) -> str:
    """Ask until somebody is known, slower after each wrong password; the name, empty where nobody is asked.

    Raises:
        UsageError: The input ended.
    """
    wait_s = WAIT_S
    while not accounts.is_open:
        name = asker.ask(Question(key="login", prompt="\nlogin", parse=str))[:NAME_MAX]
        if name and is_known(accounts, name, secret("Password: ")):
            syslog.syslog(syslog.LOG_NOTICE, f"console: {name} logged in")
            return name
        syslog.syslog(syslog.LOG_WARNING, f"console: wrong password for {name!r}")
        sleep(wait_s)
        wait_s = min(wait_s * 2, WAIT_MAX_S)
        asker.say("This is no operator with that password.")
    return ""


def is_known(accounts: Accounts, name: str, password: str) -> bool:
    """Whether it is the password of an operator; takes as long for a name that does not exist."""
    try:
        return verify_password(password, accounts.hashes.get(name))
    except ApplianceError:
        return False  # the hash was written by hand and means nothing
