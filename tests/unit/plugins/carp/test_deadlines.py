"""What time does to the election machine, as transcripts: beats, time-outs, own stalls, the sub-second profile."""

from __future__ import annotations

import pytest

from appliance_carp.machine import GroupSettings, Machine, State, VhidSettings
from tests.unit.plugins.carp.transcripts import BOTH, LAN, LAN2, PEER, THIRD, WAN, Bench, peer, render, takeover

# --- starting, dying, timing -----------------------------------------------------------------------------------


def test_a_node_listens_for_one_dead_interval_before_it_takes_over() -> None:
    bench = Bench(LAN, advskew=100)
    assert bench.do(bench.machine.start(bench.now)) == ["lan/1 INIT>BACKUP: started"]
    assert bench.machine.next_deadline() == bench.now + 3 + 100 / 256
    assert bench.after(3.39) == []
    assert bench.after(0.01) == takeover(LAN, "master timed out", "1/100")


def test_without_link_a_vhid_waits_in_init() -> None:
    machine = Machine(GroupSettings(vhids=(VhidSettings(key=LAN),)), jitter=lambda: 0.0)
    assert machine.start(0.0) == []
    assert machine.report(LAN).state is State.INIT
    assert machine.demotion == 0, "not told is no reason"
    assert [render(each) for each in machine.set_link("lan", True, 1.0)] == [
        "lan/1 INIT>BACKUP: interface lan has link"
    ]


def test_a_master_sends_each_interval_and_announces_again_after_two_adverts() -> None:
    bench = Bench(LAN, families=BOTH).started()
    assert bench.after(3.0) == [
        "activate lan/1",
        "send lan/1 v4 1/0",
        "send lan/1 v6 1/0",
        "announce lan/1",
        "lan/1 BACKUP>MASTER: master timed out",
    ]
    beat = ["send lan/1 v4 1/0", "send lan/1 v6 1/0"]
    assert bench.after(1.0) == beat
    assert bench.after(1.0) == [*beat, "announce lan/1"]
    assert bench.after(3.0) == beat * 3


def test_each_advert_of_the_master_rearms_the_dead_timer_which_uses_our_own_skew() -> None:
    bench = Bench(LAN, advskew=128).backup(skew=0)
    for _ in range(10):
        assert bench.after(1.0) == []
        assert bench.hear(skew=0) == []
    assert bench.after(3.49) == []
    assert bench.after(0.02) == takeover(LAN, "master timed out", "1/128")


def test_a_late_beat_keeps_its_phase_and_is_never_made_up_by_a_burst() -> None:
    bench = Bench(LAN).master()
    planned = bench.machine.next_deadline()
    assert planned is not None
    bench.now = planned + 0.3
    assert bench.do(bench.machine.tick(bench.now)) == ["send lan/1 v4 1/0"]
    assert bench.machine.next_deadline() == pytest.approx(planned + 1.0)
    bench.now = planned + 7.5
    assert bench.do(bench.machine.tick(bench.now)) == ["send lan/1 v4 1/0"]
    assert bench.machine.next_deadline() == pytest.approx(bench.now + 1.0)


def test_jitter_spreads_the_phases_after_a_takeover_within_one_interval() -> None:
    values = iter([0.0, 0.5, 1.0])
    settings = GroupSettings(vhids=tuple(VhidSettings(key=key) for key in (LAN, LAN2, WAN)))
    machine = Machine(settings, jitter=lambda: next(values))
    for interface in ("lan", "wan"):
        machine.set_link(interface, True, 0.0)
    machine.start(0.0)
    machine.tick(3.0)
    assert sorted(host.advert_at for host in machine._group.hosts.values()) == [3.5, 3.75, 4.0]


def test_an_advert_for_a_vhid_or_family_we_do_not_have_is_counted() -> None:
    bench = Bench(LAN).started()
    assert bench.hear(WAN) == ["count wan/3 badvhid"]
    assert bench.hear(LAN, family=6) == ["count lan/1 badvhid"]


# --- time-outs and siblings ------------------------------------------------------------------------------------


def test_a_time_out_takes_siblings_that_missed_an_advert_too() -> None:
    bench = Bench(LAN, WAN).started()
    bench.hear(LAN)
    bench.after(0.7)
    bench.hear(WAN)
    said = bench.after(2.31)
    assert said == [*takeover(LAN, "master timed out"), *takeover(WAN, "master timed out")]


def test_a_time_out_leaves_siblings_whose_master_is_still_talking() -> None:
    bench = Bench(LAN, WAN, advskew=100).backup(skew=0)
    for _ in range(10):
        bench.after(1.0)
        assert bench.hear(WAN, skew=0) == []
    assert (bench.state(LAN), bench.state(WAN)) == ("MASTER", "BACKUP")


def test_one_silent_family_proves_nothing_while_the_other_is_heard() -> None:
    bench = Bench(LAN, families=BOTH, advskew=100).backup(skew=0)
    said = []
    for _ in range(10):
        said += bench.after(1.0)
        said += bench.hear(family=4, skew=0)
    assert set(said) == {"count lan/1 family_silent"}
    assert bench.state(LAN) == "BACKUP"
    assert bench.after(3.5)[-1] == "lan/1 BACKUP>MASTER: master timed out"


def test_a_proven_death_takes_everything_of_that_peer_at_once() -> None:
    bench = Bench(LAN, WAN).started()
    bench.peers(peer(PEER), peer(THIRD))
    bench.hear(LAN, PEER)
    bench.hear(WAN, THIRD)
    assert bench.do(bench.machine.peer_died(bench.now, reason="fw3 is dead", name="fw3")) == takeover(
        LAN, "fw3 is dead"
    )
    assert bench.state(WAN) == "BACKUP"


def test_a_proven_death_is_left_to_a_healthier_third_node() -> None:
    bench = Bench(LAN).backup()
    bench.reasons(gateway=100)
    bench.peers(peer(PEER), peer(THIRD))
    assert bench.machine.peer_died(bench.now, reason="fw3 is dead", name="fw3") == []
    bench.peers(peer(PEER), peer(THIRD, demotion=240))
    assert bench.do(bench.machine.peer_died(bench.now, reason="fw3 is dead", name="fw3"))[0] == "activate lan/1"


# --- stalls ----------------------------------------------------------------------------------------------------


def test_a_dead_timer_served_late_proves_nothing_twice() -> None:
    bench = Bench(LAN).backup()
    for _ in range(2):
        deadline = bench.machine.next_deadline()
        assert deadline is not None
        bench.now = deadline + 0.4
        assert bench.do(bench.machine.tick(bench.now)) == ["count lan/1 late_timer", "note late_timer"]
    deadline = bench.machine.next_deadline()
    assert deadline == pytest.approx(bench.now + 1 + 50 / 256)
    bench.now = deadline + 0.4
    assert bench.do(bench.machine.tick(bench.now)) == takeover(LAN, "master timed out")


def test_a_timer_late_by_less_than_a_quarter_interval_counts() -> None:
    bench = Bench(LAN).backup()
    bench.now = (bench.machine.next_deadline() or 0) + 0.2
    assert bench.do(bench.machine.tick(bench.now)) == takeover(LAN, "master timed out")


def test_a_master_that_was_stopped_leaves_the_role_where_it_went_without_a_word() -> None:
    bench = Bench(LAN).master()
    bench.now += 10
    assert bench.hear(skew=50) == ["deactivate lan/1", "lan/1 MASTER>BACKUP: was stalled while 10.1.0.3 became master"]
    assert bench.hear(skew=50) == []


def test_a_master_that_was_stopped_has_no_parting_word_for_a_better_one_either() -> None:
    bench = Bench(LAN, advskew=50).master()
    bench.now += 10
    assert bench.hear(skew=0) == ["deactivate lan/1", "lan/1 MASTER>BACKUP: better master 10.1.0.3"]


def test_a_master_that_was_stopped_and_hears_nothing_speaks_and_lets_the_answer_decide() -> None:
    bench = Bench(LAN, advskew=50).master()
    bench.now += 10
    assert bench.do(bench.machine.tick(bench.now)) == ["send lan/1 v4 1/50"]
    assert "deactivate lan/1" in bench.hear(skew=0)


# --- the sub-second profile ------------------------------------------------------------------------------------


def test_fast_adverts_are_sent_only_when_every_living_peer_speaks_them() -> None:
    bench = Bench(LAN, advskew=32, fast=True).master()
    assert bench.peers(peer(PEER, fast=True)) == ["send lan/1 v4 0/28"]
    assert len(bench.after(1.0)) == 9
    assert bench.peers(peer(PEER, fast=True), peer(THIRD, fast=False)) == ["send lan/1 v4 1/32"], "normal, and at once"
    assert bench.peers(peer(PEER, fast=True), peer(THIRD, alive=False)) == ["send lan/1 v4 0/28"]
    assert bench.peers(peer(PEER, alive=False, fast=True)) == ["send lan/1 v4 1/32"]


def test_a_slow_or_foreign_speaker_makes_us_slow() -> None:
    bench = Bench(LAN, fast=True).master()
    bench.peers(peer(fast=True))
    assert bench.hear(skew=200)[0] == "send lan/1 v4 1/0"
    assert "send lan/1 v4 0/26" in bench.after(11)
    assert bench.hear(skew=200, own_kind=False)[0] == "send lan/1 v4 1/0"
    assert "send lan/1 v4 0/26" not in bench.after(600)


def test_a_fast_master_is_missed_after_three_of_its_intervals() -> None:
    bench = Bench(LAN, advskew=255 // 5, fast=True).backup(base=0, skew=26)
    assert bench.machine.next_deadline() == pytest.approx(bench.now + 3 * 26 / 256 + 0.01)
    bench.hear(base=1, skew=0)
    assert bench.machine.next_deadline() == pytest.approx(bench.now + 3 + 51 / 256)


def test_a_fast_peer_is_compared_in_its_own_profile() -> None:
    assert "announce lan/1" in Bench(LAN, advskew=0).master().hear(base=0, skew=30)
    assert "deactivate lan/1" in Bench(LAN, advskew=100).master().hear(base=0, skew=26)
