"""What a drill rehearses, as data: how each failure or hand-over begins, how it is put back, who has to be MASTER."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from appliance.errors import ApplianceError
from appliance.lab.lab import Lab

PRIMARY, SECONDARY = "fw1", "fw2"
BACK_S = 60.0
"""To put a cluster back: a node boots, learns its states and takes over again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """One thing that can happen to a cluster."""

    name: str
    title: str
    happen: Callable[[Lab], object]
    back: Callable[[Lab], object]
    moves: bool = True
    """Whether the secondary has to become MASTER of everything."""
    dangerous: bool = False
    """A machine loses its power: on a cluster that somebody uses this is asked first."""


REHEARSALS = (
    Rehearsal(
        name="switchover",
        title="planned switchover",
        happen=lambda lab: lab.request(PRIMARY, "ha", "switchover"),
        back=lambda lab: lab.request(PRIMARY, "ha", "enable"),
    ),
    Rehearsal(
        name="maintenance",
        title="maintenance of the master",
        happen=lambda lab: lab.request(PRIMARY, "ha", "maintenance", "on"),
        back=lambda lab: lab.request(PRIMARY, "ha", "maintenance", "off"),
    ),
    Rehearsal(
        name="disable",
        title="CARP disabled on the master",
        happen=lambda lab: lab.request(PRIMARY, "ha", "disable"),
        back=lambda lab: lab.request(PRIMARY, "ha", "enable"),
    ),
    Rehearsal(
        name="unplug-wan",
        title="WAN cable of the master unplugged",
        happen=lambda lab: lab.pull(PRIMARY, "wan"),
        back=lambda lab: lab.plug(PRIMARY, "wan"),
    ),
    Rehearsal(
        name="unplug-lan",
        title="LAN cable of the master unplugged",
        happen=lambda lab: lab.pull(PRIMARY, "lan"),
        back=lambda lab: lab.plug(PRIMARY, "lan"),
    ),
    Rehearsal(
        name="power-off",
        title="power failure of the master",
        happen=lambda lab: lab.power_off(PRIMARY),
        back=lambda lab: lab.power_on(PRIMARY),
        dangerous=True,
    ),
    Rehearsal(
        name="power-off-backup",
        title="power failure of the backup",
        happen=lambda lab: lab.power_off(SECONDARY),
        back=lambda lab: lab.power_on(SECONDARY),
        moves=False,
        dangerous=True,
    ),
)
"""The handbook's list for verifying a failover, in its order."""


def put_back(lab: Lab) -> None:
    """Whatever was begun: power, cables and roles as they were. Does nothing to a cluster that is as it was.

    Raises:
        ApplianceError: It does not come back.
    """
    for node in lab.topology.node_names:
        if not lab.has_power(node):
            lab.power_on(node)
    lab.undo_all()
    lab.wait_for(lambda seen: len(seen) == lab.topology.nodes, "every node answers", BACK_S)
    for node, seen in lab.view().items():
        if seen.get("maintenance"):
            lab.request(node, "ha", "maintenance", "off")
        if not seen.get("enabled") or seen.get("resigned"):
            with suppress(ApplianceError):  # it has come to an end by itself meanwhile
                lab.request(node, "ha", "enable")
    lab.wait_settled(PRIMARY, deadline_s=BACK_S)
