"""The election machine, rule by rule, as transcripts: what happened, and the exact effects in order."""

from __future__ import annotations

from typing import Any

import pytest

from appliance_carp.machine import (
    ON_ADVERT,
    RESIGN_S,
    TRANSITIONS,
    Activate,
    Announce,
    Changed,
    Count,
    Deactivate,
    Effect,
    GroupSettings,
    Heard,
    Machine,
    Note,
    PeerView,
    SendAdvert,
    State,
    VhidKey,
    VhidSettings,
)

LAN, LAN2, WAN = ("lan", 1), ("lan", 2), ("wan", 3)
ME, PEER, THIRD = 2, 3, 4  # last byte of the addresses
BOTH = frozenset({4, 6})


def name(key: VhidKey) -> str:
    return f"{key[0]}/{key[1]}"


def render(effect: Effect) -> str:
    match effect:
        case SendAdvert(key, family, advbase, advskew, demote, copy, only, parting):
            where = " sync-only" if only else " +sync" if copy else " parting" if parting else ""
            return f"send {name(key)} v{family} {advbase}/{advskew}" + f" demote {demote}" * bool(demote) + where
        case Activate(key):
            return f"activate {name(key)}"
        case Deactivate(key):
            return f"deactivate {name(key)}"
        case Announce(key):
            return f"announce {name(key)}"
        case Changed(key, old, new, reason):
            return f"{name(key)} {old.name}>{new.name}: {reason}"
        case Count(key, counter):
            return f"count {name(key)} {counter}"
        case Note(event, _):
            return f"note {event}"


class Bench:
    """A machine, a clock, and effects as text."""

    def __init__(
        self,
        *keys: VhidKey,
        advskew: int = 0,
        families: frozenset[int] = frozenset({4}),
        fast: bool = False,
        **how: Any,
    ) -> None:
        self.how = how
        self.vhids = tuple(
            VhidSettings(key=key, advskew=advskew, families=families, fast=fast) for key in (keys or (LAN,))
        )
        self.now = 100.0
        self.machine = Machine(self.settings(), jitter=lambda: 0.0)
        for interface in sorted({key[0] for key in keys or (LAN,)}):
            self.machine.set_link(interface, True, self.now)

    def settings(self, **changes: Any) -> GroupSettings:
        return GroupSettings(vhids=self.vhids, **(self.how | changes))

    def started(self) -> Bench:
        self.machine.start(self.now)
        return self

    def master(self) -> Bench:
        """Started, and everything MASTER by time-out."""
        self.started().after(7)
        assert self.states() == {"MASTER"}
        return self

    def backup(self, sender: int = PEER, **advert: Any) -> Bench:
        """Started, and every VHID has heard a master (skew 50 when not told)."""
        self.started()
        for each in self.vhids:
            self.hear(each.key, sender, **advert)
        return self

    def states(self) -> set[str]:
        return {report.state.name for report in self.machine.reports()}

    def state(self, key: VhidKey) -> str:
        return self.machine.report(key).state.name

    def do(self, effects: list[Effect]) -> list[str]:
        return [render(effect) for effect in effects]

    def after(self, seconds: float) -> list[str]:
        """Let time pass with a punctual driver."""
        end = self.now + seconds
        said = []
        while (deadline := self.machine.next_deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            said += self.do(self.machine.tick(self.now))
        self.now = end
        return said

    def hear(
        self,
        key: VhidKey = LAN,
        sender: int = PEER,
        *,
        skew: int = 50,
        base: int = 1,
        own_kind: bool = True,
        **how: Any,
    ) -> list[str]:
        heard = Heard(
            key=key,
            family=how.pop("family", 4),
            source=source(key[0], sender),
            advbase=base,
            advskew=skew,
            own_kind=own_kind,
            own_source=source(key[0], ME),
            **how,
        )
        return self.do(self.machine.receive(heard, self.now))

    def peers(self, *views: PeerView) -> list[str]:
        return self.do(self.machine.set_peers(views, self.now))

    def link(self, interface: str, up: bool) -> list[str]:
        return self.do(self.machine.set_link(interface, up, self.now))

    def reasons(self, **reasons: int) -> list[str]:
        return self.do(self.machine.set_reasons(reasons, self.now))


def source(interface: str, number: int) -> str:
    return {"lan": "10.1.0.", "wan": "10.2.0.", "sync": "10.9.0."}[interface] + str(number)


def peer(
    number: int = PEER, *, serves: tuple[VhidKey, ...] = (LAN, LAN2, WAN), alive: bool = True, **how: Any
) -> PeerView:
    return PeerView(
        name=f"fw{number}",
        alive=alive,
        serves=frozenset(serves),
        sources=frozenset(source(interface, number) for interface in ("lan", "wan", "sync")),
        **how,
    )


def takeover(key: VhidKey, reason: str, advert: str = "1/0") -> list[str]:
    return [
        f"activate {name(key)}",
        f"send {name(key)} v4 {advert}",
        f"announce {name(key)}",
        f"{name(key)} BACKUP>MASTER: {reason}",
    ]


# --- the tables ------------------------------------------------------------------------------------------------


def test_nothing_becomes_master_except_from_backup_and_init_never_directly() -> None:
    assert [old for old, moves in TRANSITIONS.items() if State.MASTER in moves] == [State.BACKUP]
    assert set(TRANSITIONS) == set(State)


def test_every_verdict_has_an_answer_for_master_and_backup_and_only_for_them() -> None:
    assert {state for state, _ in ON_ADVERT} == {State.MASTER, State.BACKUP}
    assert len(ON_ADVERT) == 12


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
