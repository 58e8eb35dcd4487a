"""Aggregations for people and programs: what is wrong with them, and the answer of ``show lagg``. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance.events import Health, Status
from appliance.net.bonding import Bond, Bonding, BondMember, PortState
from appliance_lagg.kernel import Churn
from appliance_lagg.lldp import Neighbour
from appliance_lagg.plan import Trouble
from appliance_lagg.settings import Settings, WantedLagg
from appliance_lagg.states import LaggState, MemberState, state_of

WARNINGS = frozenset({"degraded", "address"})
"""Kinds of trouble that cost redundancy only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the kernel's list of devices does not tell, by member."""

    churn: Mapping[str, Churn] = field(default_factory=dict)
    speed: Mapping[str, tuple[int | None, str]] = field(default_factory=dict)
    """Mbit/s and duplex."""
    neighbours: Mapping[str, Neighbour | None] = field(default_factory=dict)


def troubles(wanted: WantedLagg, state: LaggState, actual: Bonding) -> list[Trouble]:
    """What is wrong with a bond that is as configured."""
    bond = actual.bonds.get(wanted.name)
    if bond is None or not wanted.carriers:
        return []
    found: list[Trouble] = []
    quiet = [name for name, each in state.members.items() if each is MemberState.DOWN]
    if not state.up:
        what = f"{wanted.name}: no member has a link"
        found.append(_trouble(wanted, "down", what, "Check the cables, and the switches at their other ends."))
    elif quiet:
        what = f"{wanted.name} runs on {', '.join(state.up)} alone: {', '.join(quiet)} has no link"
        found.append(_trouble(wanted, "degraded", what, "Check the cable and the other end's port."))
    for link in actual.links.values():
        is_free = link.master_index == 0 and link.kind in ("", "veth")
        if is_free and link.mac == bond.link.mac and link.index != bond.link.index:
            what = f"{wanted.name} uses the MAC address of {link.name}, which is no member any more"
            fix = f"Do not plug {link.name} into the same network before the next reboot."
            found.append(_trouble(wanted, "address", what, fix))
    return found


def _trouble(wanted: WantedLagg, kind: str, what: str, fix: str) -> Trouble:
    return Trouble(lagg=wanted.name, kind=kind, what=what, fix=fix)


def health(found: Iterable[Trouble]) -> Health:
    """Of these troubles together."""
    kinds = {trouble.kind for trouble in found}
    if not kinds:
        return Health.OK
    return Health.WARN if kinds <= WARNINGS else Health.FAIL


def status(settings: Settings, found: Iterable[Trouble]) -> Status:
    """One line about all of them."""
    wrong = list(found)
    if wrong:
        return Status(health=health(wrong), summary="; ".join(trouble.what for trouble in wrong))
    names = ", ".join(wanted.name for wanted in settings.laggs) or "none configured"
    return Status(health=Health.OK, summary=f"complete: {names}")


def document(settings: Settings, actual: Bonding, facts: Facts, found: Iterable[Trouble]) -> dict[str, Any]:
    """What ``show lagg --json`` prints."""
    by_name: dict[str, list[Trouble]] = {}
    for trouble in found:
        by_name.setdefault(trouble.lagg, []).append(trouble)
    return {"laggs": [_lagg(wanted, actual, facts, by_name.get(wanted.name, [])) for wanted in settings.laggs]}


def _lagg(wanted: WantedLagg, actual: Bonding, facts: Facts, found: list[Trouble]) -> dict[str, Any]:
    bond, state = actual.bonds.get(wanted.name), state_of(wanted, actual)
    link = bond.link if bond is not None else None
    return {
        "name": wanted.name,
        "protocol": wanted.protocol,
        "description": wanted.description,
        "hash": wanted.hash or None,
        "rate": wanted.rate or None,
        "primary": wanted.primary or None,
        "present": link is not None,
        "up": link is not None and link.up,
        "carrier": link is not None and link.carrier,
        "mac": link.mac if link else "",
        "mtu": link.mtu if link else None,
        "active": state.active or None,
        "partner": _partner(bond, state),
        "members": [_member(wanted, name, state.members[name], actual, facts) for name in wanted.members],
        "problems": [{"what": trouble.what, "fix": trouble.fix} for trouble in found],
    }


def _partner(bond: Bond | None, state: LaggState) -> dict[str, Any] | None:
    if bond is None or not state.partner:
        return None
    return {"mac": state.partner, "key": bond.partner_key, "ports": bond.ports}


def _member(wanted: WantedLagg, name: str, state: MemberState, actual: Bonding, facts: Facts) -> dict[str, Any]:
    member, bond = actual.members.get(name), actual.bonds.get(wanted.name)
    speed, duplex = facts.speed.get(name, (None, ""))
    neighbour = facts.neighbours.get(name)
    lacp = None
    if wanted.is_lacp and member is not None and bond is not None and state is not MemberState.OUT:
        lacp = _lacp(member, bond, facts.churn.get(name))
    return {
        "name": name,
        "state": state.value,
        "speed": speed,
        "duplex": duplex or None,
        "mac": member.permanent_mac if member is not None else "",
        "flaps": member.failures if member is not None else 0,
        "neighbour": neighbour and {"chassis": neighbour.chassis, "port": neighbour.port, "name": neighbour.name},
        "lacp": lacp,
    }


def _lacp(member: BondMember, bond: Bond, churn: Churn | None) -> dict[str, Any]:
    return {
        "aggregator": member.aggregator,
        "selected": member.aggregator == bond.aggregator,
        "actor": _flags(member.actor),
        "partner": _flags(member.partner),
        "churn": churn and {"actor": churn.actor, "partner": churn.partner, "count": churn.times},
    }


def _flags(state: PortState) -> list[str]:
    return [each.name.lower() for each in PortState if each in state and each.name is not None]
