"""Accounts that are generated: whose numbers, which files, and what stands in the way."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from appliance_ssh import accounts
from appliance_ssh.accounts import FIRST_NUMBER, NUMBERS, TAKEN, UNKNOWN, Places, install, number_of, passwd
from appliance_ssh.settings import Account
from tests.unit.plugins.ssh.doors import BOB, OLGA

GROUP = 4200
OTHERS = "paula:x:1007:1007::/home/paula:/bin/bash\n"
PEOPLE = (Account(name="olga", keys=(OLGA,)), Account(name="bob", keys=(BOB, OLGA)))


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """A machine that reads the file, and has a user daemon of its own."""
    made = Places(extra=tmp_path / "extra", runtime=tmp_path / "run", shell="/usr/bin/appliance")

    def look_up(name: str) -> Any:
        if name == "daemon":
            return SimpleNamespace(pw_uid=1)
        lines = (made.extra / "passwd").read_text().splitlines()
        found = next((line.split(":") for line in lines if line.startswith(f"{name}:")), None)
        if found is None or name == "unseen":
            raise KeyError(name)
        return SimpleNamespace(pw_uid=int(found[2]))

    monkeypatch.setattr(pwd, "getpwnam", look_up)
    monkeypatch.setattr(grp, "getgrnam", lambda _: SimpleNamespace(gr_gid=GROUP))
    monkeypatch.setattr(os, "chown", lambda *_, **__: None)
    return made


def test_a_number_depends_on_the_name_alone_and_never_changes() -> None:
    # Files and sessions of an older version have these numbers: they are part of what is promised.
    assert (number_of("olga"), number_of("eve")) == (511228, 363451)
    assert all(FIRST_NUMBER <= number_of(str(each)) < FIRST_NUMBER + NUMBERS for each in range(1000))


def test_accounts_stand_behind_those_of_others_and_have_no_password() -> None:
    old = OTHERS + f"gone:*:{FIRST_NUMBER + 5}:{GROUP}::/x:/y\n"
    assert passwd(old, PEOPLE[:1], GROUP, Places()) == (
        f"{OTHERS}olga:*:{number_of('olga')}:{GROUP}::/run/appliance/ssh/home/olga:/usr/bin/appliance\n"
    )


def test_everybody_gets_an_account_a_home_and_keys_without_rights(places: Places) -> None:
    made = install(PEOPLE, places)
    assert (made.usable, made.unusable) == (PEOPLE, {})
    assert (places.keys / "bob").read_text() == f"restrict,pty {BOB}\nrestrict,pty {OLGA}\n"
    assert stat.S_IMODE((places.keys / "bob").stat().st_mode) == 0o644
    assert stat.S_IMODE((places.homes / "bob").stat().st_mode) == 0o700
    assert sorted(each.name for each in places.extra.iterdir()) == ["passwd"]


def test_who_is_removed_has_neither_account_nor_keys(places: Places) -> None:
    install(PEOPLE, places)
    (places.extra / "passwd").write_text(OTHERS + (places.extra / "passwd").read_text())
    install(PEOPLE[1:], places)
    assert [each.name for each in places.keys.iterdir()] == ["bob"]
    assert [line.split(":")[0] for line in (places.extra / "passwd").read_text().splitlines()] == ["paula", "bob"]


@pytest.mark.parametrize(("name", "why"), [("daemon", TAKEN), ("unseen", UNKNOWN)])
def test_who_would_be_somebody_else_or_nobody_gets_no_keys(places: Places, name: str, why: str) -> None:
    made = install([Account(name=name, keys=(OLGA,)), *PEOPLE], places)
    assert (made.usable, made.unusable) == (PEOPLE, {name: why})
    assert not (places.keys / name).exists()


def test_without_the_group_nobody_can_log_in(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    install(PEOPLE, places)

    def no_group(name: str) -> Any:
        raise KeyError(name)

    monkeypatch.setattr(grp, "getgrnam", no_group)
    made = install(PEOPLE, places)
    assert (made.usable, set(made.unusable)) == ((), {"olga", "bob"})
    assert list(places.keys.iterdir()) == []


def test_what_a_program_wrote_beside_it_is_not_followed(places: Places, tmp_path: Path) -> None:
    places.keys.mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (places.keys / ".olga.new").symlink_to(victim)
    install(PEOPLE, places)
    assert victim.read_text() == "untouched"
    assert accounts.KEY_OPTIONS in (places.keys / "olga").read_text()
