"""Paired nodes of the lab whose firewall is synchronized, and what the tests ask them."""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from appliance.errors import ApplianceError
from appliance.lab import Lab, NodeSettings, Topology
from appliance.lab.config import node_toml
from appliance.lab.lab import unique_name
from appliance.lab.pairing import introduce as introduce
from appliance.lab.topology import SYNC
from appliance.lab.waiting import wait_until

SETTLE_S = 40.0
ARRIVE_S = 15.0
"""Far more than a push takes on a machine that is busy."""


def address(number: int) -> str:
    """Of a node on the sync interface, by its number."""
    return SYNC.node4(number).partition("/")[0]


def settings(topology: Topology, *, sync: str = "", extra: str = "") -> dict[str, NodeSettings]:
    """The first node sends to all others."""
    peers = [address(number) for number in range(2, topology.nodes + 1)]
    head = f'[xmlrpc_sync]\ninterface = "{SYNC.name}"\n'
    one = NodeSettings(firewall=True, extra=f"{head}peers = {json.dumps(peers)}\n{sync}\n{extra}")
    other = NodeSettings(firewall=True, extra=head)
    return {name: one if name == "fw1" else other for name in topology.node_names}


@contextmanager
def cluster(nodes: int = 2, *, sync: str = "") -> Iterator[Lab]:
    """A lab whose nodes are paired with fw1 and in sync."""
    topology = Topology(name=unique_name("s"), nodes=nodes)
    with Lab(topology, settings=settings(topology, sync=sync)) as lab:
        lab.wait_settled("fw1", deadline_s=SETTLE_S)
        for name in topology.node_names[1:]:
            introduce(lab, name)
        in_sync(lab)
        yield lab


def sync(lab: Lab, node: str = "fw1") -> dict[str, Any]:
    """``show sync``."""
    return dict(lab.request(node, "show", "sync"))


def in_sync(lab: Lab, deadline_s: float = SETTLE_S) -> dict[str, Any]:
    """Wait until all peers of fw1 are."""
    found: dict[str, Any] = {}

    def look() -> bool:
        try:
            found.update(sync(lab))
        except ApplianceError:  # it is being killed, or starts
            return False
        return found["state"] == "in-sync" and not any(row["busy"] for row in found["peers"])

    wait_until(look, "every peer is in sync", deadline_s)
    return found


def extra_rules(*descriptions: str) -> str:
    """Firewall rules, as TOML."""
    return "".join(
        f'\n[[firewall.rule]]\ninterface = "lan"\naction = "pass"\ndescription = "{each}"\n' for each in descriptions
    )


def commit(lab: Lab, *descriptions: str, firewall: str = "", confirm_s: float = 0.0) -> dict[str, Any]:
    """Make these the further rules of fw1, and reload.

    Args:
        lab: The cluster.
        descriptions: Of the rules.
        firewall: Further keys of ``[firewall]``.
        confirm_s: Confirm it within this time; 0: it needs none.
    """
    whole = node_toml(lab.topology, "fw1", settings(lab.topology, extra=extra_rules(*descriptions))["fw1"])
    lab.config_path("fw1").write_text(whole.replace("[firewall]\n", f"[firewall]\n{firewall}\n"))
    if not confirm_s:
        return dict(lab.request("fw1", "config", "reload"))
    report = dict(lab.request("fw1", "config", "reload", "--confirm", str(confirm_s)))
    lab.request("fw1", "config", "confirm")
    return report


def on_disk(lab: Lab, node: str) -> dict[str, Any]:
    """The file of a node, whole: half of one would not be TOML."""
    return tomllib.loads(lab.config_path(node).read_text())


def rules(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Descriptions of the further rules of a configuration."""
    return tuple(each["description"] for each in config["firewall"]["rule"][1:])


def arrival(lab: Lab, node: str, *descriptions: str, deadline_s: float = ARRIVE_S) -> float:
    """Seconds until these are the further rules in the file of a node, which is when they are confirmed."""
    begun = time.monotonic()
    wait_until(lambda: rules(on_disk(lab, node)) == descriptions, f"{node} has {descriptions[:3]}", deadline_s)
    return time.monotonic() - begun


def roles_since(lab: Lab) -> dict[str, list[str]]:
    """Since when each virtual host of each node has its role."""
    shown: dict[str, Any] = {node: lab.request(node, "show", "carp") for node in lab.topology.node_names}
    return {node: [vip["since"] for vip in each["vips"]] for node, each in shown.items()}
