"""What state aggregations are in, and what has changed since it was looked at last. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from appliance.events import Event
from appliance.net.bonding import NO_PARTNER, Bonding
from appliance_lagg.events import ActiveMemberChanged, MemberDown, MemberUp, PartnerChanged
from appliance_lagg.settings import WantedLagg


class MemberState(StrEnum):
    """What a member contributes."""

    MISSING = "missing"
    """There is no such device."""
    OUT = "out"
    """It is there, but does not belong to the aggregation."""
    DOWN = "down"
    """It has no link."""
    STANDBY = "standby"
    """It has a link and waits: for the active one to fail, or for its partner."""
    ACTIVE = "active"
    """It carries traffic."""

    @property
    def is_up(self) -> bool:
        """Whether it could carry traffic, or does."""
        return self in (MemberState.STANDBY, MemberState.ACTIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaggState:
    """One aggregation at one moment."""

    members: Mapping[str, MemberState] = field(default_factory=dict)
    active: str | None = None
    """Of a `failover` aggregation: the member, or empty; `None` where there is no such thing."""
    partner: str | None = None
    """Of an `lacp` one: the partner's MAC address, or empty."""

    @property
    def up(self) -> list[str]:
        """Members with a link."""
        return [name for name, state in self.members.items() if state.is_up]


def state_of(wanted: WantedLagg, bonding: Bonding) -> LaggState:
    """As the kernel reports it."""
    bond = bonding.bonds.get(wanted.name)
    active = partner = None
    if wanted.protocol == "failover":
        index = bond.active_index if bond is not None else 0
        active = next((name for name, link in bonding.links.items() if index and link.index == index), "")
    if wanted.is_lacp:
        heard = bond.partner_mac if bond is not None else ""
        partner = "" if heard == NO_PARTNER else heard
    members = {name: _member(wanted, name, bonding) for name in wanted.members}
    return LaggState(members=members, active=active, partner=partner)


def _member(wanted: WantedLagg, name: str, bonding: Bonding) -> MemberState:
    link, bond, member = bonding.links.get(name), bonding.bonds.get(wanted.name), bonding.members.get(name)
    if link is None:
        return MemberState.MISSING
    if bond is None or member is None or link.master_index != bond.link.index:
        return MemberState.OUT
    if not member.has_link:
        return MemberState.DOWN
    return MemberState.ACTIVE if member.is_active else MemberState.STANDBY


def changes(name: str, before: LaggState, now: LaggState) -> list[Event]:
    """What to tell; a member that has not been looked at before is news when it is up."""
    found: list[Event] = []
    for member, state in now.members.items():
        was = before.members.get(member)
        if state.is_up and (was is None or not was.is_up):
            found.append(MemberUp(lagg=name, member=member))
        elif not state.is_up and was is not None and was.is_up:
            found.append(MemberDown(lagg=name, member=member, reason=state.value))
    for member, was in before.members.items():
        if member not in now.members and was.is_up:
            found.append(MemberDown(lagg=name, member=member, reason=MemberState.OUT.value))
    if now.active != before.active and (now.active or before.active):
        found.append(ActiveMemberChanged(lagg=name, member=now.active or ""))
    if now.partner != before.partner and (now.partner or before.partner):
        found.append(PartnerChanged(lagg=name, partner=now.partner or ""))
    return found
