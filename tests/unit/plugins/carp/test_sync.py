"""What the other nodes get of the virtual IPs."""

from __future__ import annotations

import copy
from typing import Any

from appliance.plugin import Mirror
from appliance_carp.plugin import Carp
from appliance_carp.sync import outbound

FW1 = {"lan": ("192.168.1.2/24", "2001:db8:1::2/64"), "wan": ("198.51.100.2/24",)}
FW2 = {"lan": ("192.168.1.3/24", "2001:db8:1::3/64"), "wan": ("198.51.100.3/24",)}
FW3 = {"lan": ("192.168.1.4/24",), "wan": ("198.51.100.4/24",)}


def sent(vip: dict[str, Any], *, receiver: dict[str, tuple[str, ...]] = FW2, rank: int = 1) -> dict[str, Any]:
    data = {"carp": {"password": "x", "vip": [{"name": "lan", "interface": "lan", "vhid": 1, **vip}]}}
    before = copy.deepcopy(data)
    made = outbound(data, Mirror(sender=FW1, receiver=receiver, rank=rank))
    assert data == before, "the sender's own data stays as it is"
    assert made["carp"]["password"] == "x"
    (one,) = made["carp"]["vip"]
    return dict(one)


def test_the_section_is_the_whole_table() -> None:
    (section,) = Carp().appliance_sync_sections()
    assert (section.name, section.keys) == ("virtual IPs", (("carp",),))


def test_the_next_node_is_preferred_a_hundred_less() -> None:
    assert sent({})["advskew"] == 100
    assert sent({"advskew": 20})["advskew"] == 120
    assert sent({"advskew": 20}, rank=2)["advskew"] == 220


def test_advskew_never_exceeds_254() -> None:
    assert sent({"advskew": 200})["advskew"] == 254
    assert sent({"advskew": 100}, rank=2)["advskew"] == 254


def test_the_receiver_hears_the_sender_where_the_sender_hears_it() -> None:
    assert sent({"peers": ["192.168.1.3"]})["peers"] == ["192.168.1.2"]
    assert sent({"peers": ["2001:db8:1:0::3", "192.168.1.3"]})["peers"] == ["2001:db8:1::2", "192.168.1.2"]


def test_a_third_node_stays_a_peer_of_both() -> None:
    peers = {"peers": ["192.168.1.3", "192.168.1.4"]}
    assert sent(peers)["peers"] == ["192.168.1.2", "192.168.1.4"]
    assert sent(peers, receiver=FW3, rank=2)["peers"] == ["192.168.1.3", "192.168.1.2"]


def test_of_several_networks_the_common_one_gives_the_address() -> None:
    two = {"lan": ("10.0.0.2/24", "192.168.1.2/24")}
    data = {"carp": {"vip": [{"interface": "lan", "peers": ["192.168.1.3"]}]}}
    made = outbound(data, Mirror(sender=two, receiver=FW2))
    assert made["carp"]["vip"][0]["peers"] == ["192.168.1.2"]


def test_without_an_address_of_the_family_the_peer_stays() -> None:
    data = {"carp": {"vip": [{"interface": "lan", "peers": ["192.168.1.3"]}]}}
    made = outbound(data, Mirror(sender={"lan": ("2001:db8:1::2/64",)}, receiver=FW2))
    assert made["carp"]["vip"][0]["peers"] == ["192.168.1.3"]


def test_multicast_needs_no_peers() -> None:
    assert "peers" not in sent({})
    assert sent({"peers": []})["peers"] == []


def test_a_node_without_virtual_ips_sends_what_it_has() -> None:
    mirror = Mirror(sender=FW1, receiver=FW2)
    assert outbound({}, mirror) == {}
    assert outbound({"carp": {"preempt": False}}, mirror) == {"carp": {"preempt": False}}
