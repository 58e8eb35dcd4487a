"""What a kernel could report about bonds, for tests without one."""

from __future__ import annotations

from appliance.net.bonding import Bond, Bonding, BondMember, BondOptions, PortState
from appliance.net.rtfacts import LinkInfo
from appliance_lagg.plan import MARK

LAGG, ETH0, ETH1 = 9, 2, 3
MAC0, MAC1 = "02:00:00:00:00:01", "02:00:00:00:00:02"
IN_STEP = PortState.ACTIVITY | PortState.SYNCHRONIZATION | PortState.COLLECTING | PortState.DISTRIBUTING


def link(
    index: int,
    name: str,
    *,
    kind: str = "",
    mac: str = MAC0,
    up: bool = True,
    mtu: int = 1500,
    parent: int = 0,
    master: int = 0,
    alias: str = "",
) -> LinkInfo:
    return LinkInfo(
        index, name, kind, mac, 0, up, up, mtu, parent, 0, alias, 7 if kind == "vlan" else 0, master_index=master
    )


def member(
    index: int, name: str, *, is_active: bool = True, has_link: bool = True, aggregator: int = 0, mac: str = MAC0
) -> BondMember:
    return BondMember(
        link=link(index, name, master=LAGG),
        is_active=is_active,
        has_link=has_link,
        failures=0,
        permanent_mac=mac,
        aggregator=aggregator,
        actor=IN_STEP if aggregator else PortState(0),
    )


def bonding(
    *members: BondMember,
    options: BondOptions | None = None,
    alias: str = MARK,
    up: bool = True,
    mtu: int = 1500,
    active: int = 0,
    partner: str = "",
    others: tuple[LinkInfo, ...] = (),
) -> Bonding:
    """lagg0 with these members, and other devices."""
    bond = Bond(
        link=link(LAGG, "lagg0", kind="bond", alias=alias, up=up, mtu=mtu),
        options=options or BondOptions(),
        active_index=active,
        aggregator=1,
        ports=len(members),
        partner_key=5,
        partner_mac=partner,
    )
    links = [bond.link, *(each.link for each in members), *others]
    return Bonding(
        links={each.name: each for each in links},
        bonds={"lagg0": bond},
        members={each.link.name: each for each in members},
    )
