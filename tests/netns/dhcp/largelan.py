"""The example cluster with a LAN of a /19 and DHCP on it: room for thousands of clients that hold an address."""

from __future__ import annotations

import time

from appliance.errors import ApplianceError
from appliance.lab import Lab, Topology
from appliance.lab.config import NodeSettings, node_toml
from appliance.lab.lab import unique_name
from appliance.lab.pairing import in_sync, introduce
from appliance.lab.waiting import wait_until

NODES = ("fw1", "fw2")
LAN4 = {"fw1": "192.168.1.2", "fw2": "192.168.1.3"}
VIP4 = "192.168.1.1"
SUBNET, PREFIX, MASK = "192.168.0.0", 19, "255.255.224.0"
FIRST, LAST = "192.168.4.1", "192.168.31.250"
LEASE_S = 600
"""Longer than clients are watched: what is not renewed is still held at the end."""
STEP_S = 60.0
ASK_S = 0.5


def large_lan() -> Lab:
    """The lab; fw1 is primary, nothing is paired yet."""
    topology = Topology(name=unique_name("h"), ipv6=False)
    return Lab(topology, settings={node: NodeSettings(text=_text(topology, node)) for node in NODES})


def _text(topology: Topology, node: str) -> str:
    dhcp = f"""
[dhcp_failover]
sync_interface = "sync"

[dhcp_failover.interface.lan]
range = ["{FIRST}-{LAST}"]
lease_time = {LEASE_S}
failover_peer = "{LAN4["fw2" if node == "fw1" else "fw1"]}"
"""
    text = node_toml(topology, node, NodeSettings(xmlrpc_sync=True, extra=dhcp))
    return text.replace(f"{LAN4[node]}/24", f"{LAN4[node]}/{PREFIX}").replace(f"{VIP4}/24", f"{VIP4}/{PREFIX}")


def pair(lab: Lab) -> None:
    """Both nodes know each other and have one configuration and all leases."""
    lab.wait_settled("fw1", deadline_s=STEP_S)
    introduce(lab, "fw2")
    wait_until(lambda: in_sync(lab), "fw2 has the configuration", STEP_S)
    wait_in_step(lab)


def wait_in_step(lab: Lab) -> None:
    """Until fw1 serves, and each node has the leases of the other.

    Asked seldom: the answer has every lease in it, and whoever makes it cannot serve clients meanwhile.
    """
    lab.wait_settled("fw1", deadline_s=STEP_S)
    wanted = [("serving", "synchronized"), ("standby", "synchronized")]
    deadline = time.monotonic() + STEP_S
    while (seen := states(lab)) != wanted:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not in step in {STEP_S:.0f} s: {seen}")
        time.sleep(ASK_S)


def states(lab: Lab) -> list[tuple[str, str]]:
    """Of fw1 and fw2: its own state, and how it sees the other."""
    return [_state(lab, node) for node in NODES]


def _state(lab: Lab, node: str) -> tuple[str, str]:
    try:
        pools = lab.request(node, "show", "dhcp")["pools"]
    except ApplianceError:  # it starts, or has no power
        return ("", "")
    assert isinstance(pools, list)
    return (str(pools[0]["my_state"]), str(pools[0]["replication"])) if pools else ("", "")
