"""Pairs the nodes of a lab with each other, by the commands that an operator types."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

from appliance.errors import ApplianceError
from appliance.lab.waiting import wait_until

if TYPE_CHECKING:
    from appliance.lab.lab import Lab

PRIMARY = "fw1"
PAIR_S = 40.0
"""A listening node answers within a second; a busy machine may take its time."""


def pair_all(lab: Lab) -> None:
    """Pair every other node with the primary, and wait until they have its configuration.

    Raises:
        ApplianceError: One of them did not.
    """
    for name in lab.topology.node_names[1:]:
        introduce(lab, name)
    wait_until(lambda: in_sync(lab), "every node has the primary's configuration", PAIR_S)


def in_sync(lab: Lab) -> bool:
    """Whether all other nodes have what the primary has."""
    shown = lab.request(PRIMARY, "show", "sync")
    peers = shown["peers"]
    assert isinstance(peers, list)
    return shown["state"] == "in-sync" and not any(row["busy"] for row in peers)


def introduce(lab: Lab, name: str) -> None:
    """Pair one node with the primary.

    Raises:
        ApplianceError: It did not listen, or the primary did not reach it.
    """
    listening = lab.popen(name, "appliance", "pair", "--listen", "--json")
    try:
        assert listening.stdout is not None
        said = json.loads(listening.stdout.readline() or "{}")
        if "code" not in said:
            raise ApplianceError(f"{name} does not listen for other nodes", hint=f"See {lab.log(name)}")
        lab.exec(PRIMARY, "appliance", "pair", said["addresses"][0], "--code", said["code"])
        listening.wait(PAIR_S)
    except subprocess.TimeoutExpired:
        raise ApplianceError(f"{name} was not paired in {PAIR_S:.0f} s", hint=f"See {lab.log(name)}") from None
    finally:
        listening.kill()
        listening.wait()
        if listening.stdout is not None:
            listening.stdout.close()
