"""What the other nodes should have of ``[pfsync]``: the same, with the unicast peers seen from there.

Pure, over plain TOML data. The key file is local: each node names its own copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_interface
from typing import Any

from appliance.plugin import Mirror, SyncSection


def outbound(data: Mapping[str, Any], mirror: Mirror) -> Mapping[str, Any]:
    """The table as the receiver should have it."""
    table = data.get("pfsync", {})
    if not table.get("peers"):
        return data
    here = mirror.sender.get(table["interface"], ())
    there = mirror.receiver.get(table["interface"], ())
    return {**data, "pfsync": {**table, "peers": [_flipped(peer, here, there) for peer in table["peers"]]}}


def _flipped(peer: str, here: tuple[str, ...], there: tuple[str, ...]) -> str:
    """The sender where the receiver is meant; any other node stays."""
    met = next((each for each in map(ip_interface, there) if each.ip == ip_address(peer)), None)
    if met is None:
        return peer
    own = [each for each in map(ip_interface, here) if each.version == met.version]
    # An interface may be in several networks: the one that both nodes are in comes first.
    own.sort(key=lambda each: each.network != met.network)
    return str(own[0].ip) if own else peer


SECTIONS = (SyncSection(name="state synchronization", keys=(("pfsync",),), outbound=outbound),)
