"""Changes after which the other nodes may not reach this one have to be confirmed."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from appliance.config import Config, Model
from appliance.config.model import NodeTable
from appliance_interfaces.config import InterfacesConfig
from appliance_xmlrpc_sync.config import XmlrpcSyncConfig
from appliance_xmlrpc_sync.guard import CUT, cuts

INTERFACES = """
[sync]
device = "eth2"
addresses = ["172.16.1.2/24"]
[lan]
device = "eth1"
addresses = ["192.168.1.2/24"]
"""


def config(interfaces: str = INTERFACES, **sync: Any) -> Config:
    tables: dict[str, Model] = {
        "interfaces": InterfacesConfig.model_validate(tomllib.loads(interfaces)),
        "xmlrpc_sync": XmlrpcSyncConfig.model_validate({"interface": "sync"} | sync),
    }
    return Config(tables, node=NodeTable(name="fw1"))


OLD = config()


@pytest.mark.parametrize(
    ("new", "key", "said"),
    [
        (
            config(INTERFACES.replace('"192.168.1.2/24"', '"192.168.1.2/24", "172.16.1.130/25"')),
            "interfaces.lan",
            "172.16.1.128/25 of lan is a part of 172.16.1.0/24 of sync",
        ),
        (
            config(INTERFACES + 'routes = [{ to = "172.16.1.3/32", via = "192.168.1.9" }]'),
            "interfaces.lan",
            "172.16.1.3/32 of lan is a part of 172.16.1.0/24 of sync",
        ),
    ],
)
def test_what_cuts_is_named_with_its_place(new: Config, key: str, said: str) -> None:
    (found,) = cuts(new, OLD)
    assert (found.severity, ".".join(map(str, found.path))) == ("confirm", key)
    assert said in found.message
    assert found.message.endswith(CUT)


@pytest.mark.parametrize(
    "new",
    [
        OLD,
        config(peers=["172.16.1.3"], policy="manual", confirm=20),
        config(INTERFACES.replace('"172.16.1.2/24"', '"172.16.1.2/24", "fd00::2/64"')),
        config(INTERFACES.replace("192.168.1.2", "192.168.1.7")),
        config(interface="lan"),  # the core says that nobody listens at sync any more
        config(INTERFACES + 'routes = [{ to = "172.16.0.0/12", via = "192.168.1.9" }]'),
        config(
            INTERFACES + 'routes = [{ to = "2001:db8::/64", via = "192.168.1.9" }]'.replace("192.168.1.9", "fe80::1")
        ),
        config(INTERFACES + '[opt]\ndevice = "eth3"\naddresses = ["10.0.0.1/8"]'),
    ],
)
def test_what_does_not_cut_needs_nothing(new: Config) -> None:
    assert cuts(new, OLD) == []


def test_without_synchronization_before_there_is_nothing_to_cut() -> None:
    assert cuts(config(port=9443), None) == []
    assert cuts(config(port=9443), Config({}, node=NodeTable(name="fw1"))) == []


def test_what_cut_before_is_not_asked_again() -> None:
    bad = config(INTERFACES + 'routes = [{ to = "172.16.1.3/32", via = "192.168.1.9" }]')
    assert cuts(bad, bad) == []
