"""`[xmlrpc_sync]` as operators write it, and what the services make of it."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from pydantic import ValidationError

from appliance.config import Config, Model, ProvidesPairing, Scope, scope_of
from appliance.config.model import NodeTable
from appliance.testing import LogicalInterfaces
from appliance_xmlrpc_sync.config import XmlrpcSyncConfig, listener_settings, sender_settings
from tests.unit.plugins.xmlrpc_sync.nodes import Users

HASH = "scrypt$15$8$1$c2FsdHNhbHRzYWx0c2FsdA==$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g="


def config(*, users: Users | None = None, **values: Any) -> Config:
    table = XmlrpcSyncConfig.model_validate({"interface": "sync"} | values)
    interfaces = LogicalInterfaces.of(sync=["172.16.1.2/24", "2001:db8:9::2/64"])
    tables: dict[str, Model] = {"xmlrpc_sync": table, "interfaces": interfaces}
    return Config(tables | ({"users": users} if users else {}), node=NodeTable(name="fw1"))


def test_a_node_listens_on_its_own_addresses_of_the_sync_interface_only() -> None:
    settings = listener_settings(config())
    assert settings.addresses == ("172.16.1.2", "2001:db8:9::2")
    assert settings.device == "sync"
    assert (settings.port, settings.pairing_port) == (8443, 8444)


def test_the_listener_knows_the_nodes_own_users_and_shows_no_hash() -> None:
    users = Users(role={"admin": "sync", "alice": "operator", "eye": "viewer"}, hash=HASH)
    accounts = listener_settings(config(users=users)).accounts
    assert [(each.name, each.hashed, each.privilege) for each in accounts] == [
        ("admin", HASH, "sync"),
        ("alice", HASH, "sync"),
        ("eye", HASH, "viewer"),
    ]
    assert HASH not in repr(accounts)
    assert listener_settings(config()).accounts == ()


def test_users_that_are_synchronized_are_not_asked_for_and_disabled_ones_have_no_password() -> None:
    shared = Users(role={"admin": "operator"}, hash=HASH, own=False)
    assert listener_settings(config(users=shared)).accounts == ()
    resting = Users(role={"admin": "sync", "old": "sync"}, hash=HASH, disabled=["old"])
    accounts = listener_settings(config(users=resting)).accounts
    assert [(each.name, each.hashed) for each in accounts] == [("admin", HASH), ("old", None)]


def test_the_listener_knows_whom_the_node_sends_to() -> None:
    assert listener_settings(config(peers=["172.16.1.3"])).peers == ("172.16.1.3",)


def test_the_sender_gets_all_that_the_table_says_about_sending() -> None:
    values: dict[str, Any] = {"peers": ["172.16.1.3"], "username": "sync", "password_file": "/etc/appliance/p"}
    settings = sender_settings(
        config(**values, policy="manual", off=["aliases"], on_drift="refuse", confirm=5, port=9000)
    )
    assert settings.peers == ("172.16.1.3",)
    assert (settings.username, settings.password_file) == ("sync", "/etc/appliance/p")
    assert (settings.policy, settings.off, settings.on_drift) == ("manual", ("aliases",), "refuse")
    assert (settings.confirm_s, settings.port) == (5.0, 9000)


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": 65535},
        {"port": 0},
        {"policy": "often"},
        {"on_drift": "merge"},
        {"confirm": 1},
        {"password_file": "relative"},
        {"username": "with:colon"},
        {"peers": ["172.16.1.3"] * 8},
    ],
)
def test_values_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        XmlrpcSyncConfig.model_validate({"interface": "sync"} | wrong)


def test_whom_a_node_sends_to_and_as_whom_is_its_own_business() -> None:
    for field in ("peers", "username", "password_file"):
        assert scope_of(XmlrpcSyncConfig, field) is Scope.LOCAL


def test_a_firewall_learns_both_ports_and_that_only_neighbours_call() -> None:
    interfaces = LogicalInterfaces.of(sync="172.16.1.2/24").logical_interfaces()
    table = config(port=9000)[XmlrpcSyncConfig]
    traffic = table.own_traffic(interfaces)
    assert [(each.name, each.interface, each.protocol, each.port) for each in traffic] == [
        ("sync", "sync", "tcp", 9000),
        ("sync", "sync", "tcp", 9001),
    ]
    assert [str(source) for source in traffic[0].sources] == ["172.16.1.0/24"]
    assert table.own_traffic({})[0].sources == ()


def test_it_names_the_network_between_the_nodes() -> None:
    link = config(peers=["172.16.1.3"])[XmlrpcSyncConfig].cluster_link()
    assert (link.interface, link.peers) == ("sync", (ip_address("172.16.1.3"),))


def test_it_pairs_the_nodes() -> None:
    table = config()[XmlrpcSyncConfig]
    assert isinstance(table, ProvidesPairing)
    assert table.pairs_nodes()
