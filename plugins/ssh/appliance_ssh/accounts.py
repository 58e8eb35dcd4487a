"""The Unix accounts of those who log in: generated, each with a number of its own that its name determines.

The control socket believes the kernel, and the kernel knows numbers. Therefore nobody shares a number with somebody
else, on no node and at no time: a session that is still open while users change can never become somebody else's. sshd
and everybody else finds the accounts through libnss-extrausers, whose files are made for systems like this one, where
``/etc`` is read only.
"""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from appliance_ssh.settings import Account

FIRST_NUMBER, NUMBERS = 0x40000, 0x40000
"""262144 to 524287: above those of people and services and of the first users' subordinate numbers, below those of
containers (systemd's UIDS-GIDS, useradd(8)); low enough for a sparse ``/var/log/lastlog``."""
GROUP = "appliance"
"""Its members may connect to the control socket."""
EXTRA = Path("/var/lib/extrausers")
"""libnss-extrausers looks nowhere else."""
RUNTIME = Path("/run/appliance/ssh")
KEY_OPTIONS = "restrict,pty"
"""No forwarding, no tunnel, no rc file, whatever sshd would allow (sshd(8))."""
UNKNOWN = "this machine does not see its account"
TAKEN = "this machine has an account of this name of its own"


def number_of(name: str) -> int:
    """The number of a user, the same on every node and for ever."""
    return FIRST_NUMBER + int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % NUMBERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where files go; tests have others."""

    extra: Path = EXTRA
    runtime: Path = RUNTIME
    shell: str = "/usr/bin/appliance"

    @property
    def keys(self) -> Path:
        """A file for each account that can log in."""
        return self.runtime / "keys"

    @property
    def homes(self) -> Path:
        """Where the console keeps what somebody typed."""
        return self.runtime / "home"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What has become of the accounts."""

    usable: tuple[Account, ...] = ()
    unusable: dict[str, str] = field(default_factory=dict)
    """Why, by name."""


def install(accounts: Sequence[Account], places: Places) -> Installed:
    """Make these accounts and no others; their keys count from the next login on.

    Raises:
        OSError: Files cannot be written.
    """
    try:
        group = grp.getgrnam(GROUP).gr_gid
    except KeyError:
        _write_keys((), places)
        return Installed(unusable={each.name: f"this machine has no group {GROUP}" for each in accounts})
    _write_passwd(accounts, group, places)
    problems = {each.name: problem for each in accounts if (problem := _problem(each.name))}
    usable = tuple(each for each in accounts if each.name not in problems)
    for each in usable:
        _make_home(places.homes / each.name, number_of(each.name), group)
    _write_keys(usable, places)
    return Installed(usable=usable, unusable=problems)


def passwd(old: str, accounts: Sequence[Account], group: int, places: Places) -> str:
    """The file of accounts: what others keep in it, then ours. No password fits (``*``), and none is locked (``!``)."""
    foreign = [line for line in old.splitlines() if line and not _is_ours(line)]
    ours = [
        f"{each.name}:*:{number_of(each.name)}:{group}::{places.homes / each.name}:{places.shell}" for each in accounts
    ]
    return "".join(f"{line}\n" for line in (*foreign, *ours))


def _is_ours(line: str) -> bool:
    number = [*line.split(":"), "", ""][2]
    return number.isdecimal() and FIRST_NUMBER <= int(number) < FIRST_NUMBER + NUMBERS


def _problem(name: str) -> str | None:
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return UNKNOWN
    return None if found.pw_uid == number_of(name) else TAKEN


def _write_passwd(accounts: Sequence[Account], group: int, places: Places) -> None:
    places.extra.mkdir(mode=0o755, parents=True, exist_ok=True)
    path = places.extra / "passwd"
    old = path.read_text(encoding="utf-8", errors="surrogateescape") if path.exists() else ""
    new = passwd(old, accounts, group, places)
    if new != old:
        _write(path, new)


def _write_keys(accounts: Sequence[Account], places: Places) -> None:
    places.keys.mkdir(mode=0o755, parents=True, exist_ok=True)
    wanted = {each.name: each for each in accounts}
    for path in places.keys.iterdir():
        if path.name not in wanted:
            path.unlink()
    for name, each in wanted.items():
        _write(places.keys / name, "".join(f"{KEY_OPTIONS} {key}\n" for key in each.keys))


def _make_home(path: Path, number: int, group: int) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    os.chown(path, number, group, follow_symlinks=False)


def _write(path: Path, text: str) -> None:
    """Whole or not at all; everybody may read it."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as file:
        os.fchmod(handle, 0o644)  # whatever the umask of this process is
        file.write(text)
    new.replace(path)
