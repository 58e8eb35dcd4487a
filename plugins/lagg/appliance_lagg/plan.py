"""What has to be done to the kernel's bonds so that they are as configured: wanted minus actual.

Pure. The plan is made anew from fresh facts until nothing is left to do. Members are added before others are
taken out, and nothing else touches a bond that carries traffic, except what the kernel changes only while it is
down: then the device is kept, with its index, its MAC address and all that is stacked on it (`Rebuild`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from appliance.net.bonding import Bond, Bonding, BondOptions
from appliance.net.rtfacts import LinkInfo
from appliance_lagg.settings import Settings, WantedLagg

MARK = "appliance lagg"
"""The alias (`ip link show`) of bonds that are ours, and may be removed when they are no longer configured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateBond:
    lagg: str
    options: BondOptions
    mtu: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteBond:
    lagg: str
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkBond:
    lagg: str
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetOptions:
    lagg: str
    index: int
    options: BondOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuild:
    """Down, change, up again: as short as can be, and the device stays."""

    lagg: str
    index: int
    options: BondOptions
    mac: str
    was_up: bool
    members: tuple[int, ...]
    """Indexes of members that have to leave for it and come back; empty when they may stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddMember:
    lagg: str
    index: int
    member: str
    member_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveMember:
    lagg: str
    member: str
    member_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMtu:
    lagg: str
    device: str
    index: int
    mtu: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUp:
    lagg: str
    index: int


Operation = CreateBond | DeleteBond | MarkBond | SetOptions | Rebuild | AddMember | RemoveMember | SetMtu | SetUp


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that keeps an aggregation from being as configured."""

    lagg: str
    kind: str
    """``missing``, ``taken``, ``name``, ``refused``, ``degraded``, ``down``: part of the alarm's key."""
    what: str
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do, in order, and what cannot be done."""

    operations: tuple[Operation, ...] = ()
    troubles: tuple[Trouble, ...] = ()


def make_plan(settings: Settings, actual: Bonding, seen_up: Mapping[str, int]) -> Plan:
    """Everything that differs.

    Args:
        settings: What is wanted.
        actual: What is.
        seen_up: Index under which an aggregation has been up since it appeared. One that was up and is down now
            has been set down by somebody on purpose: that is left alone.
    """
    planner = _Planner(settings, actual, seen_up)
    planner.unwanted()
    for wanted in settings.laggs:
        planner.lagg(wanted)
    return Plan(operations=tuple(planner.operations), troubles=tuple(planner.troubles))


def difference(wanted: BondOptions, actual: BondOptions) -> BondOptions:
    """Options that are given and are not so."""
    differing = {
        each.name: getattr(wanted, each.name)
        for each in fields(BondOptions)
        if getattr(wanted, each.name) not in (None, getattr(actual, each.name))
    }
    return BondOptions(**differing)


class _Planner:
    def __init__(self, settings: Settings, actual: Bonding, seen_up: Mapping[str, int]) -> None:
        self.settings, self.actual, self.seen_up = settings, actual, seen_up
        self.operations: list[Operation] = []
        self.troubles: list[Trouble] = []
        self._names = {wanted.name for wanted in settings.laggs}

    def unwanted(self) -> None:
        """Bonds of ours that are no longer configured."""
        for name, bond in sorted(self.actual.bonds.items()):
            if name not in self._names and bond.link.alias == MARK:
                self.operations.append(DeleteBond(lagg=name, index=bond.link.index))

    def lagg(self, wanted: WantedLagg) -> None:
        """The bond, its options and its members."""
        link, bond = self.actual.links.get(wanted.name), self.actual.bonds.get(wanted.name)
        if bond is None and link is not None:
            self._trouble(
                wanted,
                "name",
                f"{wanted.name} exists but is no bond",
                f"Remove it (`ip link delete {wanted.name}`) or give the aggregation another name.",
            )
            return
        if bond is None:
            self.operations.append(CreateBond(lagg=wanted.name, options=wanted.options, mtu=wanted.mtu))
            return
        if bond.link.alias != MARK:
            self.operations.append(MarkBond(lagg=wanted.name, index=bond.link.index))
        self._options(wanted, bond)
        self._members(wanted, bond)
        self._mtu(wanted, bond)
        if not bond.link.up and self.seen_up.get(wanted.name) != bond.link.index:
            self.operations.append(SetUp(lagg=wanted.name, index=bond.link.index))

    def _trouble(self, wanted: WantedLagg, kind: str, what: str, fix: str) -> None:
        self.troubles.append(Trouble(lagg=wanted.name, kind=kind, what=what, fix=fix))

    def _options(self, wanted: WantedLagg, bond: Bond) -> None:
        options = wanted.options
        primary = self.actual.links.get(wanted.primary)
        if primary is not None and primary.master_index == bond.link.index:
            options = replace(options, primary_index=primary.index)
        differing = difference(options, bond.options)
        if differing == BondOptions():
            return
        if differing.mode is None and differing.lacp_fast is None:
            self.operations.append(SetOptions(lagg=wanted.name, index=bond.link.index, options=differing))
            return
        members = self.actual.members_of(bond) if differing.mode is not None else []
        # With another mode everything is said anew, except the primary: nobody is a member at that moment.
        said = wanted.options if differing.mode is not None else differing
        self.operations.append(
            Rebuild(
                lagg=wanted.name,
                index=bond.link.index,
                options=said,
                mac=bond.link.mac,
                was_up=bond.link.up,
                members=tuple(each.link.index for each in members),
            )
        )

    def _members(self, wanted: WantedLagg, bond: Bond) -> None:
        for name in wanted.carriers:
            link = self.actual.links.get(name)
            if link is None:
                self._missing(wanted, name)
            elif link.master_index == 0:
                self.operations.append(
                    AddMember(lagg=wanted.name, index=bond.link.index, member=name, member_index=link.index)
                )
            elif link.master_index != bond.link.index:
                self._elsewhere(wanted, name, link)
        for member in self.actual.members_of(bond):
            if member.link.name not in wanted.carriers:
                self.operations.append(
                    RemoveMember(lagg=wanted.name, member=member.link.name, member_index=member.link.index)
                )

    def _missing(self, wanted: WantedLagg, name: str) -> None:
        others = ", ".join(sorted(each for each in self.actual.links if each != "lo")[:10]) or "none"
        self._trouble(
            wanted,
            "missing",
            f"the member {name} of {wanted.name} does not exist",
            f"Plug it in, load its driver, or name another one in [lagg.{wanted.name}]; there are: {others}.",
        )

    def _elsewhere(self, wanted: WantedLagg, name: str, link: LinkInfo) -> None:
        master = next((each.name for each in self.actual.links.values() if each.index == link.master_index), "")
        bond = self.actual.bonds.get(master)
        if bond is not None and (bond.link.alias == MARK or master in self._names):
            return  # that one is about to let it go
        self._trouble(
            wanted,
            "taken",
            f"{name} belongs to {master or 'another device'} and cannot join {wanted.name}",
            f"Take it out there: `ip link set {name} nomaster`.",
        )

    def _mtu(self, wanted: WantedLagg, bond: Bond) -> None:
        if wanted.mtu is None:
            return
        if bond.link.mtu != wanted.mtu:
            # The kernel passes it on to the members, and lowers what is stacked on top.
            self.operations.append(SetMtu(lagg=wanted.name, device=wanted.name, index=bond.link.index, mtu=wanted.mtu))
            return
        for link in self.actual.links.values():
            is_on_top = link.kind == "vlan" and link.parent_index == bond.link.index
            if is_on_top and link.name not in wanted.own_mtu and link.mtu != wanted.mtu:
                self.operations.append(SetMtu(lagg=wanted.name, device=link.name, index=link.index, mtu=wanted.mtu))
