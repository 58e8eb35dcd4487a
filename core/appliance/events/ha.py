"""High-availability vocabulary shared by plugins: roles, demotion, peers, role control.

These belong to no plugin. `carp` publishes them today; a VRRP plugin could publish the same, and
whoever depends on the capability would not notice.
"""

from __future__ import annotations

from enum import StrEnum

from appliance.events.base import Event, Request, event, request


class Role(StrEnum):
    """State of one virtual host on this node."""

    INIT = "INIT"
    BACKUP = "BACKUP"
    MASTER = "MASTER"
    DISABLED = "DISABLED"
    REMOVED = "REMOVED"
    """There is no such virtual host any more: nobody counts or shows it."""

    @property
    def is_master(self) -> bool:
        """Whether this node answers for the virtual addresses."""
        return self is Role.MASTER


@event(retain=("interface", "vhid"))
class RoleChanged(Event):
    """This node's role for one virtual host changed."""

    interface: str
    """Logical interface name."""
    vhid: int
    role: Role
    reason: str
    """For people: "master timed out", "bow-out of 192.168.1.2", "interface lost its link"."""


@event(retain="reason")
class Demotion(Event):
    """A named reason that makes this node a worse candidate. ``weight=0`` clears it.

    Sent through `Context.demoted`, which withdraws it however the block ends; a crash of the source
    retracts it.
    """

    reason: str
    """Unique name: ``"link:wan"``, ``"bulk"``, ``"maintenance"``."""
    weight: int
    """0..240; the election adds the reasons up (see the carp plugin)."""


@event(retain="peer")
class PeerChanged(Event):
    """What this node knows of another node of the cluster changed."""

    peer: str
    """The peer's node name."""
    alive: bool
    healthy: bool
    """Alive, enabled, not in maintenance and no worse than we are."""
    demotion: int
    summary: str


@event()
class HandoverMeasured(Event):
    """A requested handover has settled."""

    to: str
    duration_ms: float
    """From the request to the last virtual address being answered by the new master."""


@request
class Switchover(Request[str]):
    """Hand all virtual addresses to the best peer; answers with a sentence for people.

    Raises:
        RefusedError: No healthy peer would take over, and `force` is not set.
    """

    force: bool = False


@request
class SetMaintenance(Request[str]):
    """Enter or leave persistent maintenance; answers with a sentence for people."""

    on: bool
    force: bool = False


@request
class SetEnabled(Request[str]):
    """Enable or disable the virtual addresses until the next start."""

    on: bool
    force: bool = False


@request
class Reclaim(Request[str]):
    """End a switchover early: this node may become MASTER again by the ordinary rules.

    Raises:
        RefusedError: There is no switchover to end.
    """
