"""What the other nodes should have of ``[dhcp_failover]``: the same, with the failover peer seen from there.

Pure, over plain TOML data. pfSense does the same when it synchronizes: where a peer is set it becomes the sender.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_interface
from typing import Any

from appliance.plugin import Mirror, SyncSection


def outbound(data: Mapping[str, Any], mirror: Mirror) -> Mapping[str, Any]:
    """The table as the receiver should have it."""
    table = data.get("dhcp_failover", {})
    interfaces = table.get("interface", {})
    if not interfaces:
        return data
    flipped = {
        name: _flipped(each, mirror.sender.get(name, ()), mirror.receiver.get(name, ()))
        for name, each in interfaces.items()
    }
    return {**data, "dhcp_failover": {**table, "interface": flipped}}


def _flipped(table: Mapping[str, Any], here: tuple[str, ...], there: tuple[str, ...]) -> Mapping[str, Any]:
    """The sender where the receiver is meant; of three nodes, those that are not meant have the sender as well."""
    if "failover_peer" not in table:
        return table
    peer = ip_address(table["failover_peer"])
    networks = [each.network for each in map(ip_interface, there) if each.version == peer.version]
    own = [each for each in map(ip_interface, here) if each.version == peer.version]
    # An interface may be in several networks: the one of the peer comes first, then one that both nodes are in.
    own.sort(key=lambda each: (peer not in each.network, each.network not in networks))
    return {**table, "failover_peer": str(own[0].ip)} if own else table


SECTIONS = (SyncSection(name="DHCP", keys=(("dhcp_failover",),), outbound=outbound),)
"""Everything of the table; the switch that turns it off is called so."""
