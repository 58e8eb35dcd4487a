"""What aggregations are found to be in, and what is told when that changes."""

from __future__ import annotations

from appliance.net.bonding import NO_PARTNER, Bonding
from appliance_lagg.events import ActiveMemberChanged, MemberDown, MemberUp, PartnerChanged
from appliance_lagg.states import LaggState, MemberState, changes, state_of
from tests.unit.plugins.lagg.configured import wanted
from tests.unit.plugins.lagg.kernel_facts import ETH0, ETH1, bonding, link, member


def test_each_state_of_a_member_has_a_name() -> None:
    actual = bonding(
        member(ETH0, "eth0"),
        member(ETH1, "eth1", is_active=False),
        member(4, "eth2", has_link=False),
        others=(link(5, "eth3"),),
        active=ETH0,
    )
    state = state_of(wanted(members=["eth0", "eth1", "eth2", "eth3", "eth4"]), actual)
    assert [each.value for each in state.members.values()] == ["active", "standby", "down", "out", "missing"]
    assert (state.active, state.partner, state.up) == ("eth0", None, ["eth0", "eth1"])


def test_a_partner_that_never_spoke_is_none() -> None:
    lacp = wanted("lacp")
    assert state_of(lacp, bonding(partner=NO_PARTNER)).partner == ""
    assert state_of(lacp, bonding(partner="02:00:00:00:00:99")).partner == "02:00:00:00:00:99"
    assert state_of(lacp, Bonding()).partner == ""


def test_changes_become_events() -> None:
    up, down, gone = MemberState.ACTIVE, MemberState.DOWN, MemberState.MISSING
    nothing = LaggState()
    first = LaggState(members={"eth0": up, "eth1": down}, active="eth0")
    assert changes("l", nothing, first) == [
        MemberUp(lagg="l", member="eth0"),
        ActiveMemberChanged(lagg="l", member="eth0"),
    ]
    second = LaggState(members={"eth0": gone, "eth1": MemberState.STANDBY}, active="eth1")
    assert changes("l", first, second) == [
        MemberDown(lagg="l", member="eth0", reason="missing"),
        MemberUp(lagg="l", member="eth1"),
        ActiveMemberChanged(lagg="l", member="eth1"),
    ]
    assert changes("l", second, second) == []
    assert changes("l", second, nothing) == [
        MemberDown(lagg="l", member="eth1", reason="out"),
        ActiveMemberChanged(lagg="l", member=""),
    ]
    assert changes("l", nothing, LaggState(partner="")) == []
    assert changes("l", LaggState(partner=""), LaggState(partner="02::")) == [PartnerChanged(lagg="l", partner="02::")]


def test_waiting_members_that_begin_to_carry_are_no_news() -> None:
    before, now = (LaggState(members={"eth0": each}) for each in (MemberState.STANDBY, MemberState.ACTIVE))
    assert changes("l", before, now) == []
