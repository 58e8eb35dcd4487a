"""Bonds as the kernel reports them: options, members and what LACP has found out. Pure.

Constants are those of linux/if_link.h (IFLA_BOND_*), linux/if_bonding.h and linux/if_ether.h. Bytes are made by
`appliance.net.rtnl`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

from appliance.net import rtmessages as m
from appliance.net.rtfacts import LinkInfo, mac_of, parse_link

BOND = "bond"
NO_PARTNER = "00:00:00:00:00:00"

_LINK_SIZE = 16  # struct ifinfomsg
_IFLA_INFO_SLAVE_KIND, _IFLA_INFO_SLAVE_DATA = 4, 5
_IFLA_BOND_AD_INFO = 23
_NUMBERS = {1: struct.Struct("=B"), 2: struct.Struct("=H"), 4: struct.Struct("=I")}


class BondMode(IntEnum):
    """How members share the work (BOND_MODE_*)."""

    ROUND_ROBIN = 0
    ACTIVE_BACKUP = 1
    XOR = 2
    LACP = 4
    """IEEE 802.3ad."""


class HashPolicy(IntEnum):
    """What of a packet chooses the member it leaves by (BOND_XMIT_POLICY_*)."""

    LAYER2 = 0
    LAYER34 = 1
    LAYER23 = 2


class PortState(IntFlag):
    """State of an LACP port, the actor's or the partner's (IEEE 802.1AX, 6.4.2.3)."""

    ACTIVITY = 0x01
    TIMEOUT = 0x02
    AGGREGATION = 0x04
    SYNCHRONIZATION = 0x08
    COLLECTING = 0x10
    DISTRIBUTING = 0x20
    DEFAULTED = 0x40
    EXPIRED = 0x80


_NO_STATE = PortState(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BondOptions:
    """What can be set; ``None`` leaves it as it is, and is what a bond of another mode reports."""

    mode: BondMode | None = None
    link_check_ms: int | None = None
    """How often members are asked whether they have a link (miimon)."""
    up_delay_ms: int | None = None
    """How long a link has to last before it is used; a multiple of `link_check_ms`."""
    primary_index: int | None = None
    """The preferred member of ACTIVE_BACKUP."""
    hash_policy: HashPolicy | None = None
    announcements: int | None = None
    """Gratuitous ARP packets and neighbour advertisements after another member has become active."""
    all_active: bool | None = None
    """Frames are also taken from members that are not active."""
    lacp_fast: bool | None = None
    """The partner is asked for a packet each second instead of each 30 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bond:
    """One bond."""

    link: LinkInfo
    options: BondOptions
    active_index: int = 0
    """The active member of ACTIVE_BACKUP; 0 for none."""
    aggregator: int = 0
    """LACP: number of the aggregator that carries the traffic."""
    ports: int = 0
    """LACP: members in it."""
    actor_key: int = 0
    partner_key: int = 0
    partner_mac: str = ""
    """LACP: system of the partner; `NO_PARTNER` while nobody answers, empty in other modes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BondMember:
    """One device of a bond."""

    link: LinkInfo
    is_active: bool
    """Traffic may use it."""
    has_link: bool
    """The bond has found its link good (MII status up)."""
    failures: int
    """How often its link has been lost since it is a member."""
    permanent_mac: str
    aggregator: int = 0
    actor: PortState = _NO_STATE
    partner: PortState = _NO_STATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Bonding:
    """All devices of a namespace, with what is special of bonds and their members, by name."""

    links: Mapping[str, LinkInfo] = field(default_factory=dict)
    bonds: Mapping[str, Bond] = field(default_factory=dict)
    members: Mapping[str, BondMember] = field(default_factory=dict)

    def members_of(self, bond: Bond) -> list[BondMember]:
        """By device index."""
        found = [each for each in self.members.values() if each.link.master_index == bond.link.index]
        return sorted(found, key=lambda each: each.link.index)


def parse_bonding(bodies: list[memoryview]) -> Bonding:
    """Bodies of RTM_NEWLINK messages."""
    links: dict[str, LinkInfo] = {}
    bonds: dict[str, Bond] = {}
    members: dict[str, BondMember] = {}
    for body in bodies:
        link = parse_link(body, 0, len(body))
        links[link.name] = link
        for attribute, start, stop in m.attributes(body, _LINK_SIZE, len(body)):
            if attribute != m.IFLA_LINKINFO:
                continue
            nested = {kind: body[a:b] for kind, a, b in m.attributes(body, start, stop)}
            if _text(nested.get(m.IFLA_INFO_KIND)) == BOND and m.IFLA_INFO_DATA in nested:
                bonds[link.name] = _bond(link, nested[m.IFLA_INFO_DATA])
            if _text(nested.get(_IFLA_INFO_SLAVE_KIND)) == BOND and _IFLA_INFO_SLAVE_DATA in nested:
                members[link.name] = _member(link, nested[_IFLA_INFO_SLAVE_DATA])
    return Bonding(links=links, bonds=bonds, members=members)


def _text(data: memoryview | None) -> str:
    return bytes(data or b"").rstrip(b"\0").decode(errors="replace")


def _values(data: memoryview) -> dict[int, memoryview]:
    return {kind: data[start:stop] for kind, start, stop in m.attributes(data, 0, len(data))}


def _number(values: Mapping[int, memoryview], kind: int) -> int | None:
    data = values.get(kind, memoryview(b""))
    return int(_NUMBERS[len(data)].unpack(data)[0]) if len(data) in _NUMBERS else None


def _bond(link: LinkInfo, data: memoryview) -> Bond:
    values = _values(data)
    mode, policy = _number(values, 1), _number(values, 14)
    all_active, fast = _number(values, 17), _number(values, 21)
    lacp = _values(values[_IFLA_BOND_AD_INFO]) if _IFLA_BOND_AD_INFO in values else {}
    options = BondOptions(
        mode=BondMode(mode) if mode in set(BondMode) else None,
        link_check_ms=_number(values, 3),
        up_delay_ms=_number(values, 4),
        primary_index=_number(values, 11),
        hash_policy=HashPolicy(policy) if policy in set(HashPolicy) else None,
        announcements=_number(values, 16),
        all_active=None if all_active is None else bool(all_active),
        lacp_fast=None if fast is None else bool(fast),
    )
    return Bond(
        link=link,
        options=options,
        active_index=_number(values, 2) or 0,
        aggregator=_number(lacp, 1) or 0,
        ports=_number(lacp, 2) or 0,
        actor_key=_number(lacp, 3) or 0,
        partner_key=_number(lacp, 4) or 0,
        partner_mac=mac_of(bytes(lacp[5])) if 5 in lacp else "",
    )


def _member(link: LinkInfo, data: memoryview) -> BondMember:
    values = _values(data)
    return BondMember(
        link=link,
        is_active=_number(values, 1) == 0,
        has_link=_number(values, 2) == 0,
        failures=_number(values, 3) or 0,
        permanent_mac=mac_of(bytes(values.get(4, b""))),
        aggregator=_number(values, 6) or 0,
        actor=PortState(_number(values, 7) or 0),
        partner=PortState((_number(values, 8) or 0) & 0xFF),
    )
