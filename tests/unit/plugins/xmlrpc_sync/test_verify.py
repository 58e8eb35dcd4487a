"""What is refused beyond the table itself; each problem names the key and the remedy."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from appliance.config import Config, Model
from appliance.config.model import NodeTable
from appliance.errors import Problem
from appliance.rpc import BODY_MAX
from appliance.testing import LogicalInterfaces
from appliance_xmlrpc_sync.config import SECTIONS_BYTES_MAX, XmlrpcSyncConfig, sender_settings
from appliance_xmlrpc_sync.verify import verify
from tests.unit.plugins.xmlrpc_sync.nodes import Users
from tests.unit.plugins.xmlrpc_sync.test_config import HASH

Role = Literal["primary", "secondary"]


def problems(
    *, role: Role = "primary", with_interfaces: bool = True, users: Users | None = None, **values: Any
) -> list[Problem]:
    tables: dict[str, Model] = {"xmlrpc_sync": XmlrpcSyncConfig.model_validate({"interface": "sync"} | values)}
    if with_interfaces:
        tables["interfaces"] = LogicalInterfaces.of(sync="172.16.1.2/24", lan="192.168.1.2/24", bare=[])
    if users is not None:
        tables["users"] = users
    return verify(Config(tables, node=NodeTable(name="fw1", role=role)))


def only(found: list[Problem]) -> tuple[tuple[str | int, ...], str]:
    assert len(found) == 1, found
    return found[0].path, found[0].message


def test_the_example_cluster_has_no_problems() -> None:
    assert problems(peers=["172.16.1.3"], users=Users(role={"admin": "sync"}, hash=HASH)) == []
    assert problems(role="secondary") == []


def test_a_secondary_that_sends_is_told_to_be_one_or_the_other() -> None:
    found = problems(role="secondary", peers=["172.16.1.3"])
    path, message = only(found)
    assert path == ("xmlrpc_sync", "peers")
    assert "remove the peers" in message
    assert found[0].also == (("node", "role"),)


def test_an_interface_that_does_not_exist_is_named_with_those_that_do() -> None:
    path, message = only(problems(interface="snc"))
    assert path == ("xmlrpc_sync", "interface")
    assert "bare, lan, sync" in message


def test_an_interface_without_an_address_has_nothing_to_listen_on() -> None:
    path, message = only(problems(interface="bare"))
    assert path == ("xmlrpc_sync", "interface")
    assert "[interfaces.bare]" in message


def test_without_an_interfaces_table_there_is_nothing_to_listen_on() -> None:
    assert "needs an [interfaces] table" in only(problems(with_interfaces=False))[1]


@pytest.mark.parametrize(("peer", "said"), [("172.16.1.2", "this node itself"), ("10.0.0.1", "in no network of sync")])
def test_a_peer_that_cannot_be_one_is_refused(peer: str, said: str) -> None:
    path, message = only(problems(peers=[peer]))
    assert path == ("xmlrpc_sync", "peers", 0)
    assert said in message


def test_a_peer_that_is_there_twice_is_refused() -> None:
    path, message = only(problems(peers=["172.16.1.3", "172.16.1.3"]))
    assert path == ("xmlrpc_sync", "peers", 1)
    assert "twice" in message


def test_a_node_to_which_nobody_may_push_is_pointed_out() -> None:
    (found,) = problems(users=Users(role={"eye": "viewer", "ear": "viewer"}, hash=HASH))
    assert (found.path, found.severity) == (("xmlrpc_sync",), "warning")
    assert "with a password are eye, ear, and they may only look" in found.message
    (found,) = problems(users=Users(role={"admin": "sync"}, hash=HASH, disabled=["admin"]))
    assert "are admin, and they may only look or are disabled" in found.message
    assert 'the role "sync"' in found.message
    assert problems(users=Users(role={"eye": "viewer", "alice": "operator"}, hash=HASH)) == []


def test_a_large_configuration_is_pointed_out_where_it_is_sent() -> None:
    tables: dict[str, Model] = {
        "xmlrpc_sync": XmlrpcSyncConfig.model_validate({"interface": "sync", "peers": ["172.16.1.3"]}),
        "interfaces": LogicalInterfaces.of(sync="172.16.1.2/24"),
    }
    large = Config(tables, node=NodeTable(name="fw1"), text="#" * 4_200_000)
    (found,) = verify(large)
    assert (found.path, found.severity) == (("xmlrpc_sync",), "warning")
    assert "the configuration has 4.2 MB" in found.message
    assert "above 13 MB the peers refuse it" in found.message
    assert sender_settings(large).large == found.message
    small = Config(tables, node=NodeTable(name="fw1"), text="#" * 4_000_000)
    assert (verify(small), sender_settings(small).large) == ([], "")
    assert SECTIONS_BYTES_MAX == BODY_MAX * 3 // 4


def test_a_section_that_is_off_twice_is_only_pointed_out() -> None:
    (found,) = problems(off=["aliases", "aliases"])
    assert (found.path, found.severity) == (("xmlrpc_sync", "off", 1), "warning")
