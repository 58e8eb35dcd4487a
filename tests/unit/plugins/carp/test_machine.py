"""The election machine, rule by rule, as transcripts: what happened, and the exact effects in order."""

from __future__ import annotations

from typing import Any

import pytest

from appliance_carp.machine import ON_ADVERT, RESIGN_S, TRANSITIONS, State, VhidSettings
from tests.unit.plugins.carp.transcripts import BOTH, LAN, LAN2, PEER, THIRD, WAN, Bench, peer, takeover

# --- the tables ------------------------------------------------------------------------------------------------


def test_nothing_becomes_master_except_from_backup_and_init_never_directly() -> None:
    assert [old for old, moves in TRANSITIONS.items() if State.MASTER in moves] == [State.BACKUP]
    assert set(TRANSITIONS) == set(State)


def test_every_verdict_has_an_answer_for_master_and_backup_and_only_for_them() -> None:
    assert {state for state, _ in ON_ADVERT} == {State.MASTER, State.BACKUP}
    assert len(ON_ADVERT) == 12


# --- who goes before whom --------------------------------------------------------------------------------------


def test_a_master_yields_to_a_better_one_with_a_parting_advert() -> None:
    bench = Bench(LAN, advskew=100).master()
    assert bench.hear(skew=0) == [
        "send lan/1 v4 1/100 parting",
        "deactivate lan/1",
        "lan/1 MASTER>BACKUP: better master 10.1.0.3",
    ]


def test_a_master_answers_inferior_adverts_at_once_but_a_flood_only_four_times_a_second() -> None:
    bench = Bench(LAN).master()
    answer = ["send lan/1 v4 1/0", "announce lan/1", "count lan/1 reasserted"]
    assert [bench.hear(skew=50) for _ in range(4)] == [answer] * 4
    assert [bench.hear(skew=50) for _ in range(50)] == [[]] * 50
    assert bench.after(0.3) == ["send lan/1 v4 1/0", "announce lan/1"], "we have the last word"
    said = []
    for _ in range(1000):
        said += bench.hear(skew=50) + bench.after(0.01)
    assert said.count("announce lan/1") == pytest.approx(40, abs=3)


def test_towards_a_foreign_peer_equality_makes_us_step_down_silently() -> None:
    bench = Bench(LAN, advskew=10).master()
    assert bench.hear(skew=10, own_kind=False) == ["deactivate lan/1", "lan/1 MASTER>BACKUP: better master 10.1.0.3"]


def test_between_own_nodes_the_higher_address_decides_equality() -> None:
    assert "deactivate lan/1" in Bench(LAN, advskew=10).master().hear(sender=PEER, skew=10)
    assert "announce lan/1" in Bench(LAN, advskew=10).master().hear(sender=1, skew=10)


def test_the_demote_byte_decides_before_the_interval_but_only_between_own_nodes() -> None:
    assert "announce lan/1" in Bench(LAN, advskew=100).master().hear(skew=0, demote=1)
    assert "deactivate lan/1" in Bench(LAN, advskew=100).master().hear(skew=0, demote=1, own_kind=False)


def test_a_foreign_master_slower_than_our_patience_is_replaced() -> None:
    bench = Bench(LAN).backup(own_kind=False)
    assert bench.hear(base=4, skew=0, own_kind=False) == takeover(LAN, "master 10.1.0.3 will time out")


def test_a_backup_follows_a_worse_master_when_it_may_not_preempt() -> None:
    bench = Bench(LAN).backup(skew=200)
    assert bench.hear(skew=200) == []
    assert bench.after(2.99) == []


def test_the_parting_advert_of_a_worse_node_does_not_make_it_our_master() -> None:
    bench = Bench(LAN, advskew=200).backup(PEER, skew=0)
    bench.hear(LAN, THIRD, skew=50)
    assert bench.machine.report(LAN).master == "10.1.0.3"
    bench.after(2.0)
    bench.hear(LAN, THIRD, skew=50)
    assert bench.machine.report(LAN).master == "10.1.0.4", "the better one has fallen silent"


# --- preemption ------------------------------------------------------------------------------------------------


def test_preemption_takes_the_whole_group_at_once() -> None:
    bench = Bench(LAN, LAN2, WAN, preempt=True, preempt_delay_s=10.0).backup()
    bench.after(1)
    assert [bench.hear(key) for key in (LAN, LAN2, WAN)] == [[], [], []]
    for _ in range(9):
        bench.after(1)
        for key in (LAN, LAN2):
            said = bench.hear(key)
        if said:
            break
        assert bench.hear(WAN) == []
    assert bench.now == pytest.approx(110)
    assert bench.states() == {"MASTER"}


def test_preemption_waits_for_its_delay_health_and_the_end_of_maintenance() -> None:
    bench = Bench(LAN, preempt=True, preempt_delay_s=2.0).backup()
    bench.after(1.9)
    assert bench.hear() == []
    bench.after(0.2)
    assert bench.reasons(bulk=240) == ["note demotion_changed"]
    assert bench.hear(skew=245) == []
    bench.reasons()
    bench.after(1.9)
    assert bench.hear() == [], "the delay counts again from the end of the bulk update"
    bench.machine.set_maintenance(True, bench.now)
    bench.after(0.2)
    assert bench.hear(skew=245) == []
    bench.machine.set_maintenance(False, bench.now)
    bench.after(2.0)
    assert bench.hear() == ["count lan/1 preempt", *takeover(LAN, "preempted 10.1.0.3")]


def test_half_a_group_is_not_preempted() -> None:
    bench = Bench(LAN, WAN, advskew=50, preempt=True).started()
    assert bench.hear(WAN, skew=0) == []
    assert bench.hear(LAN, skew=100) == []


def test_a_split_group_is_reunited_by_the_better_node_even_without_preempt() -> None:
    bench = Bench(LAN, WAN).started()
    bench.hear(WAN, skew=50)
    for _ in range(3):
        bench.after(0.9)
        assert bench.hear(WAN, skew=50) == []
    assert bench.after(0.4) == takeover(LAN, "master timed out")
    assert bench.hear(WAN, skew=50) == [
        "count wan/3 preempt",
        *takeover(WAN, "group reunited, 10.2.0.3 goes after us"),
    ]


def test_the_worse_node_of_a_split_group_leaves_it_to_the_better() -> None:
    bench = Bench(LAN, WAN, advskew=50).started()
    bench.after(2.9)
    assert bench.hear(WAN, skew=0) == []
    bench.after(0.4)
    assert (bench.state(LAN), bench.hear(WAN, skew=0)) == ("MASTER", [])


# --- bow-outs --------------------------------------------------------------------------------------------------


def test_one_bow_out_of_the_master_moves_all_siblings() -> None:
    bench = Bench(LAN, LAN2, WAN).backup()
    bench.peers(peer())
    said = bench.hear(WAN, base=255, skew=255)
    assert said == [line for key in (LAN, LAN2, WAN) for line in takeover(key, "bow-out of 10.2.0.3")]
    assert bench.hear(LAN, base=255, skew=255) == ["send lan/1 v4 1/0", "announce lan/1", "count lan/1 reasserted"], (
        "its last frame has moved the virtual MAC in the switches, so ours must follow"
    )


def test_a_copy_over_the_sync_link_counts_the_same() -> None:
    bench = Bench(LAN, WAN).backup()
    bench.peers(peer())
    assert bench.hear(LAN, via_sync=True) == [], "only farewells are believed from there"
    assert bench.hear(LAN, base=255, skew=255, via_sync=True)[0] == "activate lan/1"
    assert bench.states() == {"MASTER"}


def test_a_vhid_that_leaves_alone_moves_alone() -> None:
    bench = Bench(LAN, WAN).backup()
    assert bench.hear(WAN, base=255, skew=254) == takeover(WAN, "bow-out of 10.2.0.3")
    assert bench.state(LAN) == "BACKUP"


def test_a_bow_out_of_somebody_who_is_not_the_master_is_ignored() -> None:
    bench = Bench(LAN).backup(sender=PEER)
    assert bench.hear(sender=THIRD, base=255, skew=255) == ["count lan/1 farewell_ignored"]


def test_siblings_of_another_master_are_not_moved_by_a_bow_out() -> None:
    bench = Bench(LAN, WAN).started()
    bench.peers(peer(PEER), peer(THIRD))
    bench.hear(LAN, PEER)
    bench.hear(WAN, THIRD)
    bench.hear(LAN, PEER, base=255, skew=255)
    assert (bench.state(LAN), bench.state(WAN)) == ("MASTER", "BACKUP")


def test_a_foreign_bow_out_moves_only_its_own_vhid() -> None:
    bench = Bench(LAN, WAN).backup(own_kind=False)
    bench.hear(LAN, base=255, skew=255, own_kind=False)
    assert (bench.state(LAN), bench.state(WAN)) == ("MASTER", "BACKUP")


def test_a_bow_out_is_left_to_a_healthier_third_node_with_the_dead_timer_as_a_net() -> None:
    bench = Bench(LAN).backup()
    bench.reasons(gateway=100)
    bench.peers(peer(PEER), peer(THIRD))
    assert bench.hear(base=255, skew=255) == []
    assert bench.after(3.1)[-1] == "lan/1 BACKUP>MASTER: master timed out"


def test_a_bow_out_is_left_to_a_third_node_with_a_lower_skew_for_a_moment() -> None:
    third = peer(THIRD, skews={LAN: 100, WAN: 100})
    bench = Bench(LAN, WAN, advskew=200).backup()
    bench.peers(peer(PEER, skews={LAN: 0, WAN: 0}), third)
    assert bench.hear(base=255, skew=255) == []
    assert bench.hear(WAN, base=255, skew=255) == [], "the second farewell prolongs nothing for long"
    assert bench.hear(LAN, THIRD, skew=100) == bench.hear(WAN, THIRD, skew=100) == []
    assert bench.after(3.0) == [], "the third node has spoken: it is the master"

    alone = Bench(LAN, WAN, advskew=200).backup()
    alone.peers(peer(PEER, skews={LAN: 0, WAN: 0}), third)
    alone.hear(base=255, skew=255)
    assert alone.after(0.049) == []
    said = alone.after(0.002)
    assert [line for line in said if ">" in line] == [
        "lan/1 BACKUP>MASTER: master timed out",
        "wan/3 BACKUP>MASTER: master timed out",
    ], "it did not speak"


def test_a_bow_out_is_not_left_to_an_equal_nor_to_a_sicker_node_with_a_lower_skew() -> None:
    for third in (peer(THIRD, skews={LAN: 200}), peer(THIRD, skews={LAN: 0}, demotion=240), peer(THIRD)):
        bench = Bench(LAN, advskew=200).backup()
        bench.peers(peer(PEER, skews={LAN: 0}), third)
        assert bench.hear(base=255, skew=255)[0] == "activate lan/1"


def test_stopping_bows_out_of_everything_first_then_holds_then_closes() -> None:
    bench = Bench(LAN, WAN).master()
    assert bench.do(bench.machine.stop(bench.now)) == [
        "send lan/1 v4 255/255 +sync",
        "send wan/3 v4 255/255 +sync",
        "lan/1 MASTER>RELEASING: stopped",
        "wan/3 MASTER>RELEASING: stopped",
    ]
    assert not bench.machine.closed
    assert bench.hear(skew=0) == [], "adverts are ignored while releasing"
    assert bench.after(0.019) == []
    assert bench.after(0.001) == [
        "deactivate lan/1",
        "lan/1 RELEASING>INIT: stopped",
        "deactivate wan/3",
        "wan/3 RELEASING>INIT: stopped",
    ]
    assert bench.machine.closed
    assert bench.machine.next_deadline() is None


def test_a_stopping_backup_says_nothing() -> None:
    bench = Bench(LAN).backup()
    assert bench.do(bench.machine.stop(bench.now)) == ["lan/1 BACKUP>INIT: stopped"]
    assert bench.machine.closed


# --- sickness --------------------------------------------------------------------------------------------------


def test_a_cable_pull_moves_the_group_to_a_healthy_peer_make_before_break() -> None:
    bench = Bench(LAN, WAN).master()
    bench.peers(peer())
    assert bench.link("wan", False) == [
        "note demotion_changed",
        "send lan/1 v4 255/255 demote 30 +sync",
        "lan/1 MASTER>RELEASING: interface wan lost its link",
        "send wan/3 v4 255/255 demote 30 sync-only",
        "deactivate wan/3",
        "wan/3 MASTER>INIT: interface wan lost its link",
    ]
    assert bench.after(0.02) == ["deactivate lan/1", "lan/1 RELEASING>BACKUP: interface wan lost its link"]


def test_with_nobody_healthier_a_sick_master_stays_on_what_works() -> None:
    bench = Bench(LAN, WAN).master()
    bench.peers(peer(demotion=240))
    assert bench.link("wan", False) == [
        "note demotion_changed",
        "note nobody_healthier",
        "send lan/1 v4 1/240 demote 30",
        "send wan/3 v4 255/254 demote 30 sync-only",
        "deactivate wan/3",
        "wan/3 MASTER>INIT: interface wan lost its link",
    ]
    assert bench.state(LAN) == "MASTER"


@pytest.mark.parametrize("how", [{"alive": False}, {"enabled": False}, {"maintenance": True}, {"serves": (WAN,)}])
def test_a_peer_that_could_not_take_over_is_no_reason_to_leave(how: dict[str, Any]) -> None:
    bench = Bench(LAN).master()
    bench.peers(peer(**how))
    assert bench.reasons(gateway=100) == [
        "note demotion_changed",
        "note nobody_healthier",
        "send lan/1 v4 1/100 demote 12",
    ]


def test_only_what_a_healthy_peer_serves_is_let_go_and_that_alone() -> None:
    bench = Bench(LAN, WAN).master()
    bench.peers(peer(serves=(LAN,)))
    assert bench.reasons(gateway=100) == [
        "note demotion_changed",
        "send lan/1 v4 255/254 demote 12 +sync",
        "lan/1 MASTER>RELEASING: demoted by gateway",
        "send wan/3 v4 1/100 demote 12",
    ]


def test_twelve_vhids_on_one_interface_are_one_reason() -> None:
    keys = tuple(("lan", vhid) for vhid in range(1, 13))
    bench = Bench(*keys).started()
    for _ in range(5):
        bench.link("lan", False)
        assert dict(bench.machine.reasons) == {"link:lan": 240}
        assert bench.machine.demotion == 240
        bench.link("lan", True)
        assert bench.machine.demotion == 0


def test_two_sick_nodes_still_compare() -> None:
    bench = Bench(LAN).master()
    bench.reasons(gateway=240, disk=100)
    assert "announce lan/1" in bench.hear(skew=240, demote=60)
    assert "deactivate lan/1" in bench.hear(skew=240, demote=30)


def test_a_backup_relieves_a_more_demoted_master_of_the_whole_group_without_preempt() -> None:
    bench = Bench(LAN, WAN, advskew=100).backup(skew=0)
    assert bench.hear(WAN, skew=240, demote=30)[-1] == "wan/3 BACKUP>MASTER: master 10.2.0.3 is more demoted"
    assert bench.states() == {"MASTER"}


def test_relief_is_left_to_a_healthier_third_node_and_does_not_undo_a_handover() -> None:
    bench = Bench(LAN).backup()
    bench.reasons(gateway=80)
    bench.peers(peer(PEER, demotion=240), peer(THIRD))
    assert bench.hear(skew=240, demote=30) == []
    bench.peers(peer(PEER, demotion=240), peer(THIRD, demotion=240))
    bench.machine.resign(bench.now, reason="asked")
    assert bench.hear(skew=240, demote=30) == []
    bench.machine.reclaim(bench.now)
    assert bench.hear(skew=240, demote=30)[-1] == "lan/1 BACKUP>MASTER: master 10.1.0.3 is more demoted"


def test_external_reasons_cannot_use_names_or_weights_of_ours() -> None:
    bench = Bench(LAN).started()
    bench.machine.set_reasons({"link:lan": 240, "maintenance": 240, "disk": 1000, "odd": -5}, bench.now)
    assert dict(bench.machine.reasons) == {"disk": 240}


def test_a_healthier_peer_that_appears_is_invited_at_once() -> None:
    bench = Bench(LAN).master()
    bench.reasons(gateway=100)
    assert bench.peers(peer(demotion=240)) == []
    assert bench.peers(peer(demotion=0)) == ["send lan/1 v4 1/100 demote 12"]
    assert bench.peers(peer(demotion=0)) == []


# --- commands --------------------------------------------------------------------------------------------------


def test_resigning_hands_over_and_does_not_preempt_back_until_asked() -> None:
    bench = Bench(LAN, preempt=True).master()
    bench.peers(peer())
    assert bench.machine.best_peer() == peer()
    assert bench.do(bench.machine.resign(bench.now, reason="asked")) == [
        "send lan/1 v4 255/255 +sync",
        "lan/1 MASTER>RELEASING: asked",
    ]
    bench.after(0.02)
    for _ in range(100):
        bench.after(1)
        assert bench.hear() == []
    assert bench.machine.resigned
    bench.machine.reclaim(bench.now)
    assert bench.hear()[-1] == "lan/1 BACKUP>MASTER: preempted 10.1.0.3"


def test_a_resignation_ends_by_itself_and_when_the_group_comes_back() -> None:
    bench = Bench(LAN, preempt=True).master()
    bench.machine.resign(bench.now, reason="asked")
    bench.after(0.02)
    bench.hear()
    bench.now += RESIGN_S
    assert bench.hear()[-1] == "lan/1 BACKUP>MASTER: preempted 10.1.0.3"
    bench.machine.resign(bench.now, reason="asked")
    bench.after(4)
    assert bench.states() == {"MASTER"}, "nobody took over: one dead interval later we are back"
    assert not bench.machine.resigned


def test_the_best_peer_serves_everything_and_is_not_sicker() -> None:
    bench = Bench(LAN, WAN).master()
    bench.peers(peer(PEER, demotion=8), peer(THIRD, serves=(LAN,)))
    assert bench.machine.best_peer() is None
    bench.peers(peer(PEER, demotion=7), peer(THIRD))
    assert bench.machine.best_peer() == peer(THIRD)


def test_disabling_bows_out_then_ignores_everything_until_enabled() -> None:
    bench = Bench(LAN, WAN).master()
    said = bench.do(bench.machine.set_enabled(False, bench.now))
    assert said[:2] == ["send lan/1 v4 255/255 +sync", "send wan/3 v4 255/255 +sync"]
    bench.after(0.02)
    assert bench.states() == {"DISABLED"}
    assert bench.hear(base=255, skew=255) == []
    assert bench.machine.next_deadline() is None
    assert bench.do(bench.machine.set_enabled(True, bench.now))[0] == "lan/1 DISABLED>BACKUP: enabled"


def test_a_node_disabled_before_its_start_starts_disabled() -> None:
    bench = Bench(LAN)
    bench.machine.set_enabled(False, bench.now)
    assert bench.do(bench.machine.start(bench.now)) == ["lan/1 INIT>DISABLED: disabled"]


def test_enabling_during_the_hold_time_ends_as_backup() -> None:
    bench = Bench(LAN).master()
    bench.machine.set_enabled(False, bench.now)
    bench.machine.set_enabled(True, bench.now)
    bench.after(0.02)
    assert bench.states() == {"BACKUP"}


def test_maintenance_hands_over_and_still_serves_when_the_other_dies() -> None:
    bench = Bench(LAN).master()
    bench.peers(peer())
    assert bench.do(bench.machine.set_maintenance(True, bench.now))[1] == "send lan/1 v4 255/255 demote 30 +sync"
    bench.after(0.02)
    assert bench.hear(skew=50) == []
    assert bench.after(3.0)[-1] == "lan/1 BACKUP>MASTER: master timed out"
    assert bench.machine.report(LAN).advskew == 240


# --- reconfiguration -------------------------------------------------------------------------------------------


def test_an_unchanged_reconfiguration_of_255_vhids_does_nothing() -> None:
    bench = Bench(*(("lan", vhid) for vhid in range(1, 256)), preempt=True).master()
    assert bench.machine.reconfigure(bench.settings(), bench.now) == []


def test_changed_timing_keeps_the_state_and_is_advertised_at_once() -> None:
    bench = Bench(LAN, WAN).master()
    bench.vhids = (VhidSettings(key=LAN, advskew=7), VhidSettings(key=WAN))
    assert bench.do(bench.machine.reconfigure(bench.settings(), bench.now)) == ["send lan/1 v4 1/7"]
    assert bench.states() == {"MASTER"}


def test_a_removed_vhid_leaves_alone_and_an_added_one_listens_first() -> None:
    bench = Bench(LAN, LAN2).master()
    bench.vhids = (VhidSettings(key=LAN2), VhidSettings(key=("lan", 9)))
    assert bench.do(bench.machine.reconfigure(bench.settings(), bench.now)) == [
        "send lan/1 v4 255/254 +sync",
        "deactivate lan/1",
        "lan/1 MASTER>INIT: removed",
        "lan/9 INIT>BACKUP: added",
    ]
    assert [report.key for report in bench.machine.reports()] == [LAN2, ("lan", 9)]


def test_removing_the_last_vhid_of_a_dead_interface_ends_its_demotion() -> None:
    bench = Bench(LAN, WAN).master()
    bench.link("wan", False)
    assert bench.machine.demotion == 240
    bench.vhids = bench.vhids[:1]
    assert "send lan/1 v4 1/0" in bench.do(bench.machine.reconfigure(bench.settings(), bench.now))
    assert bench.machine.demotion == 0


def test_a_second_family_gets_a_dead_timer_of_its_own() -> None:
    bench = Bench(LAN).backup()
    bench.vhids = (VhidSettings(key=LAN, families=BOTH),)
    assert bench.machine.reconfigure(bench.settings(), bench.now) == []
    bench.after(2.5)
    bench.hear(family=6)
    assert bench.after(1.0) == ["count lan/1 family_silent"]


def test_maintenance_by_command_survives_a_reload_that_does_not_mention_it() -> None:
    bench = Bench(LAN).started()
    bench.machine.set_maintenance(True, bench.now)
    bench.machine.reconfigure(bench.settings(preempt=True), bench.now)
    assert "maintenance" in bench.machine.reasons
    bench.machine.reconfigure(bench.settings(preempt=True, maintenance=True), bench.now)
    bench.machine.reconfigure(bench.settings(preempt=True), bench.now)
    assert "maintenance" not in bench.machine.reasons


def test_the_report_tells_state_reason_and_the_master_with_its_name() -> None:
    bench = Bench(LAN, advskew=20).backup()
    bench.peers(peer())
    report = bench.machine.report(LAN)
    assert (report.state, report.reason, report.since) == (State.BACKUP, "started", 100.0)
    assert (report.master, report.peer, report.advskew, report.dead_at) == ("10.1.0.3", "fw3", 20, 103 + 20 / 256)
