"""`[ssh]` as operators write it, and who may log in."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from pydantic import ValidationError

from appliance.config import Config, ProvidesTraffic
from appliance.config.model import NodeTable
from appliance.testing import LogicalInterfaces
from appliance_ssh.config import SshConfig, settings_of
from appliance_users.config import UsersConfig
from tests.unit.plugins.ssh.doors import OLGA

INTERFACES = LogicalInterfaces.of(lan=["192.168.1.2/24", "2001:db8:1::2/64"], mgmt="10.0.0.2/24")


def config(users: dict[str, Any] | None = None, **table: Any) -> Config:
    tables = {
        "interfaces": INTERFACES,
        "users": UsersConfig.model_validate(users or {}),
        "ssh": SshConfig.model_validate(table),
    }
    return Config(tables, node=NodeTable(name="fw1"))


def test_it_listens_on_own_addresses_of_the_chosen_interfaces() -> None:
    settings = settings_of(config(listen=["lan"], port=2222, idle=0))
    assert [(each.interface, each.device, each.address, each.port) for each in settings.places] == [
        ("lan", "lan", "192.168.1.2", 2222),
        ("lan", "lan", "2001:db8:1::2", 2222),
    ]
    assert settings.idle_s == 0


def test_operators_and_viewers_with_keys_have_accounts() -> None:
    users = {
        "olga": {"role": "operator", "ssh_keys": [f"{OLGA} olga@desk"]},
        "eve": {"role": "viewer", "ssh_keys": [OLGA]},
        "off": {"role": "operator", "ssh_keys": [OLGA], "disabled": True},
        "keyless": {"role": "operator"},
        "push": {"role": "sync", "ssh_keys": [OLGA]},
        "root": {"role": "operator", "ssh_keys": [OLGA]},
    }
    accounts = settings_of(config(users, listen=["lan"])).accounts
    assert [(each.name, each.keys) for each in accounts] == [("olga", (OLGA,)), ("eve", (OLGA,))]


def test_the_firewall_lets_connections_to_own_addresses_pass() -> None:
    table = config(listen=["lan", "mgmt", "gone"], allow=["10.0.0.0/8"])[SshConfig]
    assert isinstance(table, ProvidesTraffic)
    lan, mgmt = table.own_traffic(INTERFACES.logical_interfaces())
    assert (lan.name, lan.interface, lan.protocol, lan.port) == ("ssh", "lan", "tcp", 22)
    assert lan.destinations == (ip_address("192.168.1.2"), ip_address("2001:db8:1::2"))
    assert lan.is_way_in  # what closes it has to be confirmed
    assert (lan.sources, mgmt.interface) == ((ip_network("10.0.0.0/8"),), "mgmt")


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"listen": []},
        {"listen": ["eth0:1"]},
        {"listen": ["lan"], "idle": -1},
        {"listen": ["lan"], "password": True},
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SshConfig.model_validate(wrong)
