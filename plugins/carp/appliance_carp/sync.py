"""What the other nodes should have of ``[carp]``: the same, with a worse advskew and the unicast peers seen from there.

Pure, over plain TOML data.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_interface
from typing import Any

from appliance.plugin import Mirror, SyncSection

ADVSKEW_STEP = 100
"""How much less a node is preferred than the one before it."""
ADVSKEW_MAX = 254


def outbound(data: Mapping[str, Any], mirror: Mirror) -> Mapping[str, Any]:
    """The table as the receiver should have it."""
    if "vip" not in data.get("carp", {}):
        return data
    table = data["carp"]
    return {**data, "carp": {**table, "vip": [_vip(each, mirror) for each in table["vip"]]}}


def _vip(vip: Mapping[str, Any], mirror: Mirror) -> dict[str, Any]:
    seen = {**vip, "advskew": min(vip.get("advskew", 0) + ADVSKEW_STEP * mirror.rank, ADVSKEW_MAX)}
    if vip.get("peers"):
        here = mirror.sender.get(vip["interface"], ())
        there = mirror.receiver.get(vip["interface"], ())
        seen["peers"] = [_flipped(peer, here, there) for peer in vip["peers"]]
    return seen


def _flipped(peer: str, here: tuple[str, ...], there: tuple[str, ...]) -> str:
    """The sender where the receiver is meant; any other node stays."""
    met = next((each for each in map(ip_interface, there) if each.ip == ip_address(peer)), None)
    if met is None:
        return peer
    own = [each for each in map(ip_interface, here) if each.version == met.version]
    # An interface may be in several networks: the one that both nodes are in comes first.
    own.sort(key=lambda each: each.network != met.network)
    return str(own[0].ip) if own else peer


SECTIONS = (SyncSection(name="virtual IPs", keys=(("carp",),), outbound=outbound),)
