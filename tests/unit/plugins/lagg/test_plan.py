"""Wanted minus actual: each difference is one operation, and what carries traffic is not touched."""

from __future__ import annotations

from dataclasses import replace

from appliance.net.bonding import Bonding, BondMode, BondOptions
from appliance_lagg import plan as p
from appliance_lagg.settings import Settings, WantedLagg
from tests.unit.plugins.lagg.configured import wanted
from tests.unit.plugins.lagg.kernel_facts import ETH0, ETH1, LAGG, MAC0, bonding, link, member

SEEN = {"lagg0": LAGG}
BOTH = (member(ETH0, "eth0"), member(ETH1, "eth1"))


def planned(actual: Bonding, *laggs: WantedLagg, seen: dict[str, int] | None = None) -> p.Plan:
    return p.make_plan(Settings(laggs=laggs), actual, SEEN if seen is None else seen)


def as_wanted(lagg: WantedLagg, *, primary: int = ETH0) -> BondOptions:
    return replace(lagg.options, primary_index=primary) if lagg.primary else lagg.options


def test_a_bond_as_configured_needs_nothing() -> None:
    for lagg in (wanted(), wanted("lacp"), wanted("loadbalance"), wanted("roundrobin")):
        assert planned(bonding(*BOTH, options=as_wanted(lagg)), lagg) == p.Plan()


def test_a_missing_bond_is_made_marked_filled_and_set_up() -> None:
    lagg = wanted(mtu=9000)
    free = Bonding(links={each.name: each for each in (link(ETH0, "eth0"), link(ETH1, "eth1"))})
    assert planned(free, lagg, seen={}).operations == (p.CreateBond(lagg="lagg0", options=lagg.options, mtu=9000),)
    made = bonding(options=lagg.options, alias="", up=False, mtu=9000, others=(link(ETH0, "eth0"), link(ETH1, "eth1")))
    assert planned(made, lagg, seen={}).operations == (
        p.MarkBond(lagg="lagg0", index=LAGG),
        p.AddMember(lagg="lagg0", index=LAGG, member="eth0", member_index=ETH0),
        p.AddMember(lagg="lagg0", index=LAGG, member="eth1", member_index=ETH1),
        p.SetUp(lagg="lagg0", index=LAGG),
    )


def test_members_are_added_before_others_leave() -> None:
    lagg = wanted(members=["eth1"])
    actual = bonding(BOTH[0], options=as_wanted(lagg, primary=0), others=(link(ETH1, "eth1"),))
    assert planned(actual, replace(lagg, primary="")).operations == (
        p.AddMember(lagg="lagg0", index=LAGG, member="eth1", member_index=ETH1),
        p.RemoveMember(lagg="lagg0", member="eth0", member_index=ETH0),
    )


def test_the_primary_is_told_once_it_is_a_member() -> None:
    lagg = wanted()
    outside = bonding(BOTH[1], options=lagg.options, others=(link(ETH0, "eth0"),))
    assert [type(each) for each in planned(outside, lagg).operations] == [p.AddMember]
    assert planned(bonding(*BOTH, options=lagg.options), lagg).operations == (
        p.SetOptions(lagg="lagg0", index=LAGG, options=BondOptions(primary_index=ETH0)),
    )


def test_another_mode_rebuilds_the_bond_and_keeps_its_device() -> None:
    lagg = wanted("lacp")
    (operation,) = planned(bonding(*BOTH, options=wanted().options), lagg).operations
    assert operation == p.Rebuild(
        lagg="lagg0", index=LAGG, options=lagg.options, mac=MAC0, was_up=True, members=(ETH0, ETH1)
    )
    # One that was made in a mode that is not ours is not known by its mode.
    unknown = bonding(*BOTH, options=replace(lagg.options, mode=None))
    assert [type(each) for each in planned(unknown, lagg).operations] == [p.Rebuild]


def test_another_rate_takes_it_down_but_members_stay() -> None:
    slow, fast = wanted("lacp"), wanted("lacp", rate="fast")
    (operation,) = planned(bonding(*BOTH, options=slow.options), fast).operations
    assert isinstance(operation, p.Rebuild)
    assert (operation.members, operation.options) == ((), BondOptions(lacp_fast=True))


def test_failover_and_none_are_one_mode() -> None:
    lagg = wanted("none")
    assert planned(bonding(*BOTH, options=wanted().options), lagg).operations == (
        p.RemoveMember(lagg="lagg0", member="eth0", member_index=ETH0),
        p.RemoveMember(lagg="lagg0", member="eth1", member_index=ETH1),
    )
    assert lagg.options.mode is BondMode.ACTIVE_BACKUP


def test_only_bonds_of_ours_are_removed() -> None:
    assert planned(bonding()).operations == (p.DeleteBond(lagg="lagg0", index=LAGG),)
    assert planned(bonding(alias="made by hand")).operations == ()


def test_a_device_set_down_by_hand_is_left_alone() -> None:
    lagg = wanted()
    down = bonding(*BOTH, options=as_wanted(lagg), up=False)
    assert planned(down, lagg).operations == ()
    assert planned(down, lagg, seen={"lagg0": LAGG + 1}).operations == (p.SetUp(lagg="lagg0", index=LAGG),)


def test_the_mtu_of_vlans_on_top_follows_once_the_bond_has_it() -> None:
    lagg = replace(wanted(mtu=9000), own_mtu=frozenset({"lagg0.8"}))
    vlans = tuple(link(20 + vid, f"lagg0.{vid}", kind="vlan", parent=LAGG) for vid in (7, 8))
    before = planned(bonding(*BOTH, options=as_wanted(lagg), others=vlans), lagg).operations
    assert before == (p.SetMtu(lagg="lagg0", device="lagg0", index=LAGG, mtu=9000),)
    after = planned(bonding(*BOTH, options=as_wanted(lagg), mtu=9000, others=vlans), lagg).operations
    assert after == (p.SetMtu(lagg="lagg0", device="lagg0.7", index=27, mtu=9000),)
    assert planned(bonding(*BOTH, options=as_wanted(wanted()), mtu=9000, others=vlans), wanted()).operations == ()


def test_what_keeps_it_from_being_as_configured_is_told() -> None:
    lagg = wanted()
    bridge = link(30, "br0", kind="bridge")
    actual = bonding(others=(link(ETH0, "eth0", master=30), bridge), options=lagg.options)
    taken, missing = planned(actual, lagg).troubles
    assert (taken.kind, taken.what) == ("taken", "eth0 belongs to br0 and cannot join lagg0")
    assert (missing.kind, missing.what) == ("missing", "the member eth1 of lagg0 does not exist")
    other = Bonding(links={"lagg0": link(LAGG, "lagg0", kind="bridge")})
    (trouble,) = planned(other, lagg).troubles
    assert (trouble.kind, trouble.what) == ("name", "lagg0 exists but is no bond")


def test_a_member_moves_from_one_of_ours_to_another_without_a_complaint() -> None:
    first, second = wanted(members=["eth0"]), replace(wanted(members=["eth1"]), name="lagg1")
    actual = bonding(*BOTH, options=as_wanted(first))
    plan = planned(actual, first, second)
    assert plan.troubles == ()
    assert p.RemoveMember(lagg="lagg0", member="eth1", member_index=ETH1) in plan.operations
