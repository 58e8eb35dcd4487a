"""What the other nodes get of the table."""

from __future__ import annotations

from typing import Any

from appliance.plugin import Mirror
from appliance_dhcp_failover.plugin import DhcpFailover
from appliance_dhcp_failover.sync import outbound

FW1 = {"lan": ("10.0.0.2/24", "192.168.1.2/24"), "guest": ("192.168.9.2/24",)}
FW2 = {"lan": ("10.0.0.3/24", "192.168.1.3/24"), "guest": ("192.168.9.3/24",)}


def sent(**interfaces: Any) -> Any:
    data = {"dhcp_failover": {"port": 9000, "interface": interfaces}}
    return outbound(data, Mirror(sender=FW1, receiver=FW2))["dhcp_failover"]


def test_the_section_is_the_whole_table() -> None:
    (section,) = DhcpFailover().appliance_sync_sections()
    assert (section.name, section.keys) == ("DHCP", (("dhcp_failover",),))


def test_the_peer_of_the_receiver_is_the_senders_address_in_that_subnet() -> None:
    table = sent(lan={"failover_peer": "192.168.1.3", "lease_time": 600}, guest={"failover_peer": "192.168.9.3"})
    assert table == {
        "port": 9000,
        "interface": {
            "lan": {"failover_peer": "192.168.1.2", "lease_time": 600},
            "guest": {"failover_peer": "192.168.9.2"},
        },
    }


def test_without_a_peer_nothing_changes() -> None:
    assert sent(lan={"lease_time": 600})["interface"] == {"lan": {"lease_time": 600}}
    assert sent(dmz={"failover_peer": "192.168.2.3"})["interface"]["dmz"] == {"failover_peer": "192.168.2.3"}
    assert outbound({}, Mirror(sender=FW1, receiver=FW2)) == {}
