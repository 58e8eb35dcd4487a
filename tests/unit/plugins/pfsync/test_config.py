"""`[pfsync]` as operators write it, and what the service makes of it."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from pydantic import ValidationError

from appliance.config import Config, Scope, scope_of
from appliance.config.model import NodeTable
from appliance.testing import LogicalInterfaces
from appliance_pfsync.config import PfsyncConfig, settings_of

KEY = "/etc/appliance/pfsync.key"


def settings(address: str = "172.16.1.2/24", **values: Any) -> Any:
    table = PfsyncConfig.model_validate({"interface": "sync", "key_file": KEY} | values)
    tables = {"pfsync": table, "interfaces": LogicalInterfaces.of(sync=address)}
    return settings_of(Config(tables, node=NodeTable(name="fw1")))


def test_without_peers_states_go_to_the_group_of_the_family_of_the_interface() -> None:
    assert settings().destinations == ("224.0.0.240",)
    assert settings("2001:db8:9::2/64").destinations == ("ff12::f0",)


def test_peers_replace_the_group_and_choose_the_family() -> None:
    chosen = settings(peers=["2001:db8:9::3"])
    assert chosen.family == 6
    assert chosen.peers == (ip_address("2001:db8:9::3"),)
    assert chosen.destinations == ("2001:db8:9::3",)


def test_auto_means_the_native_form() -> None:
    assert settings().is_native
    assert settings(version="native") == settings()
    assert not settings(version="1400", plain=True, key_file=None).is_native


def test_plain_hands_the_service_no_key_file() -> None:
    assert settings().key_file == KEY
    assert settings(plain=True).key_file is None
    assert not settings(plain=True).is_secured


def test_without_a_key_file_the_keys_are_those_of_the_pairing() -> None:
    assert (settings().is_paired, settings().is_secured) == (False, True)
    assert (settings(key_file=None).is_paired, settings(key_file=None).is_secured) == (True, True)
    assert not settings(key_file=None, plain=True).is_paired


@pytest.mark.parametrize(
    "wrong",
    [{"maxupd": 256}, {"version": "1600"}, {"key_file": "relative"}, {"max_states": 10}, {"bulk_timeout": 1}],
)
def test_values_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PfsyncConfig.model_validate({"interface": "sync"} | wrong)


def test_the_peers_are_flipped_for_the_other_node_and_the_key_file_stays_here() -> None:
    assert scope_of(PfsyncConfig, "peers") is Scope.MIRRORED
    assert scope_of(PfsyncConfig, "key_file") is Scope.LOCAL
    assert scope_of(PfsyncConfig, "version") is Scope.SHARED


def test_a_firewall_learns_what_it_has_to_let_in() -> None:
    interfaces = LogicalInterfaces.of(sync="172.16.1.2/24").logical_interfaces()
    table = PfsyncConfig.model_validate({"interface": "sync", "key_file": KEY})
    (traffic,) = table.own_traffic(interfaces)
    assert (traffic.interface, traffic.protocol) == ("sync", "pfsync")
    assert [str(each) for each in traffic.sources] == ["172.16.1.0/24"]
    assert table.own_traffic({})[0].sources == ()
    peers = PfsyncConfig.model_validate({"interface": "sync", "key_file": KEY, "peers": ["172.16.1.3"]})
    assert peers.own_traffic(interfaces)[0].sources == (ip_address("172.16.1.3"),)
    link = peers.cluster_link()
    assert (link.interface, link.peers) == ("sync", (ip_address("172.16.1.3"),))
