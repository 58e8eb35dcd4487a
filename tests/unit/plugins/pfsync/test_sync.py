"""What the other nodes get of the table."""

from __future__ import annotations

from typing import Any

from appliance.config import Scope
from appliance.plugin import Mirror
from appliance_pfsync.config import PfsyncConfig
from appliance_pfsync.plugin import Pfsync
from appliance_pfsync.sync import outbound

FW1 = {"sync": ("172.16.1.2/24", "fd00::2/64")}
FW2 = {"sync": ("172.16.1.3/24", "fd00::3/64")}


def sent(**table: Any) -> Any:
    data = {"pfsync": {"interface": "sync", **table}}
    return outbound(data, Mirror(sender=FW1, receiver=FW2))["pfsync"]


def test_the_section_is_the_whole_table() -> None:
    (section,) = Pfsync().appliance_sync_sections()
    assert (section.name, section.keys) == ("state synchronization", (("pfsync",),))


def test_the_peer_of_the_receiver_is_the_sender() -> None:
    assert sent(peers=["172.16.1.3"])["peers"] == ["172.16.1.2"]
    assert sent(peers=["fd00::3"])["peers"] == ["fd00::2"]


def test_a_third_node_stays_a_peer() -> None:
    assert sent(peers=["172.16.1.4", "172.16.1.3"])["peers"] == ["172.16.1.4", "172.16.1.2"]


def test_multicast_is_the_same_on_all_nodes() -> None:
    assert sent(plain=True) == {"interface": "sync", "plain": True}
    assert outbound({}, Mirror(sender=FW1, receiver=FW2)) == {}


def test_without_an_address_of_the_family_the_peer_stays() -> None:
    data = {"pfsync": {"interface": "sync", "peers": ["172.16.1.3"]}}
    mirror = Mirror(sender={"sync": ("fd00::2/64",)}, receiver=FW2)
    assert outbound(data, mirror)["pfsync"]["peers"] == ["172.16.1.3"]


def test_the_key_file_is_each_nodes_own() -> None:
    assert Scope.LOCAL in PfsyncConfig.model_fields["key_file"].metadata
