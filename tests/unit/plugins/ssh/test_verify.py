"""What the types of the keys cannot see."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.config import Config
from appliance.config.model import NodeTable
from appliance.errors import Problem
from appliance.testing import LogicalInterfaces
from appliance_ssh.accounts import number_of
from appliance_ssh.config import SshConfig
from appliance_ssh.verify import verify
from appliance_users.config import UsersConfig
from tests.unit.plugins.ssh.doors import BOB, OLGA

INTERFACES = LogicalInterfaces.of(lan="192.168.1.2/24", wan=[])
PEOPLE = {"olga": {"role": "operator", "ssh_keys": [OLGA]}}


def problems(*listen: str, users: dict[str, Any] | None = None) -> list[Problem]:
    tables = {
        "interfaces": INTERFACES,
        "ssh": SshConfig(listen=list(listen)),
        "users": UsersConfig.model_validate(PEOPLE if users is None else users),
    }
    return verify(Config(tables, node=NodeTable(name="fw1")))


def test_a_good_table_has_none() -> None:
    assert problems("lan") == []


@pytest.mark.parametrize(
    ("listen", "index", "said"),
    [
        (("lan", "lan"), 1, "lan is there twice"),
        (("dmz",), 0, "there is no interface 'dmz' in [interfaces]; there are: lan, wan"),
        (("lan", "wan"), 1, "wan has no address of its own"),
    ],
)
def test_each_mistake_is_named_at_its_key(listen: tuple[str, ...], index: int, said: str) -> None:
    (found,) = problems(*listen)
    assert (found.path, found.severity) == (("ssh", "listen", index), "error")
    assert said in found.message


def test_a_node_that_nobody_can_log_in_to_is_warned_about() -> None:
    (found,) = problems("lan", users={"olga": {"role": "operator"}})
    assert (found.path, found.severity) == (("ssh",), "warning")
    assert found.message.startswith("nobody can log in: ")


def test_two_names_with_one_number_are_refused() -> None:
    seen: dict[int, str] = {}
    pair = next(
        (seen[number], name)
        for name in (f"u{each}" for each in range(10_000))
        if (number := number_of(name)) in seen or seen.setdefault(number, name) != name
    )
    users = {name: {"role": "viewer", "ssh_keys": [key]} for name, key in zip(pair, (OLGA, BOB), strict=True)}
    (found,) = problems("lan", users=users)
    assert found.path == ("users", pair[1])
    assert "the same number" in found.message
