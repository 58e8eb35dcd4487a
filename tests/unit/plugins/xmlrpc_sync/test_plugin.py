"""What the plugin contributes, as the host asks for it."""

from __future__ import annotations

import inspect
from typing import Any

from appliance.config import Config
from appliance.config.model import NodeTable
from appliance.plugin import Service
from appliance.testing import LogicalInterfaces, check_plugin
from appliance_xmlrpc_sync import events, requests
from appliance_xmlrpc_sync.config import XmlrpcSyncConfig
from appliance_xmlrpc_sync.plugin import XmlrpcSync

TABLE = {"interface": "sync", "peers": ["172.16.1.3"]}
INTERFACES = LogicalInterfaces.of(sync="172.16.1.2/24")


def services(**values: Any) -> list[Service]:
    tables = {"xmlrpc_sync": XmlrpcSyncConfig.model_validate(TABLE | values), "interfaces": INTERFACES}
    return XmlrpcSync().appliance_services(Config(tables, node=NodeTable(name="fw1")))


def test_it_is_a_good_citizen() -> None:
    check_plugin(XmlrpcSync, config=TABLE, tables={"interfaces": INTERFACES}, start=False)  # it needs a network


def test_the_two_halves_are_two_services_so_that_one_survives_the_other() -> None:
    assert [service.key for service in services()] == ["listener", "sender"]


def test_they_do_not_wait_for_interfaces_that_do_not_come_up() -> None:
    for service in services():
        assert (set(service.needs), set(service.after)) == (set(), {"interfaces"})


def test_an_unchanged_configuration_leaves_them_alone() -> None:
    assert services() == services()
    assert services()[0] == services(policy="manual")[0], "the listener does not care whom this node sends to, and when"


def test_every_event_and_request_of_its_own_is_declared() -> None:
    own = {
        kind
        for module in (events, requests)
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if kind.__module__ == module.__name__ and kind is not events.PairingOpen
    }
    assert own == set(XmlrpcSync().appliance_events())


def test_who_needs_keys_may_wait_for_the_half_that_gives_them() -> None:
    assert [set(service.provides) for service in services()] == [{"keys"}, set()]
