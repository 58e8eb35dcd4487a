"""The hands of the protocol: each effect does what it says, and is remembered for people."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import trio
import trio.testing

from appliance.events import Health, Status
from appliance_pfsync.effects import FULL_QUIET_S, STRANGER_S
from appliance_pfsync.flow import Flows, Op, key_hashes
from appliance_pfsync.kernel import STANDBY_EXTRA_S
from appliance_pfsync.native import effects as does
from appliance_pfsync.native.effects import Effect
from appliance_pfsync.snapshot import Snapshot
from tests.unit.plugins.pfsync.fakes import PaperReplicator, flows, flows6, joined, ports, report


def virtually(body: Callable[[trio.testing.MockClock], None]) -> None:
    """Run in a trio of its own, whose clock is moved by hand."""
    clock = trio.testing.MockClock()

    async def main() -> None:
        await trio.lowlevel.checkpoint()
        body(clock)

    trio.run(main, clock=clock)


def act(of: PaperReplicator, *effects: Effect) -> PaperReplicator:
    virtually(lambda _: of.actor.act(list(effects)))
    return of


def received(made: Flows, token: int = 1, *, peer: str = "fw2", bulk: bool = False) -> does.FlowsReceived:
    made.flags.writeable = False  # as what comes out of a datagram is
    return does.FlowsReceived(peer, made, bulk, token)


# --- states ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("is_master", "extra_s"), [(True, 0), (False, STANDBY_EXTRA_S)])
def test_states_go_into_the_kernel_and_are_then_confirmed(is_master: bool, extra_s: int) -> None:
    of = act(PaperReplicator(is_master=is_master), received(flows(1, 2), token=9))
    ((applied, extra, is_snapshot),) = of.table.applied
    assert (ports(applied), extra, is_snapshot) == ([1, 2], extra_s, False)
    assert of.protocol.confirmed == [("fw2", 9)]


def test_neighbouring_states_of_one_peer_go_in_together_and_those_of_a_bulk_apart() -> None:
    effects = [received(flows(1), 1), received(flows(2), 2), received(flows(3), 3, bulk=True)]
    of = act(PaperReplicator(), *effects, received(flows(4), 7, peer="fw3"))
    assert [(ports(applied), bulk) for applied, _, bulk in of.table.applied] == [
        ([1, 2], False),
        ([3], True),
        ([4], False),
    ]
    assert of.protocol.confirmed == [("fw2", 2), ("fw2", 3), ("fw3", 7)]


def test_a_question_is_answered_by_the_owner_with_what_is_alive() -> None:
    of = PaperReplicator()
    of.table.four = flows(1, 2)
    act(of, received(joined(flows(1, 5, op=Op.REQUEST), flows(7))))
    (answer,) = of.protocol.offered
    assert (ports(answer), answer["op"].tolist()) == ([1], [Op.UPDATE])
    assert [ports(applied) for applied, _, _ in of.table.applied] == [[7]], "questions are no states"
    assert of.actor.counters["requests"] == 2


def test_a_question_for_what_is_gone_is_not_answered() -> None:
    of = act(PaperReplicator(), received(flows(5, op=Op.REQUEST), token=3))
    assert of.protocol.offered == []
    assert of.protocol.confirmed == [("fw2", 3)]


def test_two_copies_never_keep_each_other_alive() -> None:
    """Only who carries the traffic answers: others have copies that are as old."""
    of = PaperReplicator(is_master=False, is_owner=False)
    of.table.six = flows6(1)
    act(of, received(flows6(1, op=Op.REQUEST)))
    assert of.protocol.offered == []
    assert of.actor.counters["requests"] == 1


def test_a_peer_that_flushed_its_states_has_ours_removed() -> None:
    of = act(PaperReplicator(), does.Cleared("fw2"))
    assert of.began["removal"] == 1
    assert of.ctx.log.names == ["pfsync_cleared"]


# --- peers -------------------------------------------------------------------------------------------------


def test_a_silent_peer_is_an_alarm_until_it_is_heard() -> None:
    of = act(PaperReplicator(), does.PeerDown("fw2", "172.16.1.3"), does.PeerDown("fw3", "172.16.1.4"))
    assert of.active_alarms() == {"pfsync/down/fw2", "pfsync/down/fw3"}
    act(of, does.PeerUp("fw2", "172.16.1.3"))
    assert of.active_alarms() == {"pfsync/down/fw3"}


def test_a_refused_peer_is_an_alarm_with_the_reason_until_it_is_accepted() -> None:
    of = act(PaperReplicator(), does.PeerRefused("fw2", "172.16.1.3", "it has none of our keys"))
    assert of.active_alarms() == {"pfsync/refused/fw2"}
    worst = of.alarms.worst
    assert worst is not None
    assert "fw2 (172.16.1.3): it has none of our keys" in worst.what
    assert "same key file" in worst.fix
    act(of, does.PeerUp("fw2", "172.16.1.3"))
    assert of.active_alarms() == set()


def test_a_refused_peer_that_is_not_there_any_more_is_forgotten() -> None:
    def body(clock: trio.testing.MockClock) -> None:
        of = PaperReplicator()
        for _ in range(2):
            of.actor.act([does.PeerRefused("fw2", "172.16.1.3", "it has none of our keys")])
            clock.jump(STRANGER_S - 1)
            of.actor.report_health()
            assert of.active_alarms() == {"pfsync/refused/fw2"}
        clock.jump(2)
        of.actor.report_health()
        assert of.active_alarms() == set()

    virtually(body)


def test_first_packets_that_waited_for_a_peer_are_let_go() -> None:
    assert act(PaperReplicator(), does.FlowsInjected("fw2", 7)).released == [7]


def test_states_that_were_lost_make_the_node_a_worse_candidate() -> None:
    of = act(PaperReplicator(), does.FlowsLost("fw2", "the window was too small"))
    assert of.is_behind
    assert of.actor.counters["losses"] == 1
    assert of.ctx.log.names == ["pfsync_lost"]


# --- bulk updates ------------------------------------------------------------------------------------------


def test_a_peer_that_wants_everything_gets_it() -> None:
    assert act(PaperReplicator(), does.BulkWanted("fw2")).began["feed fw2"] == 1


def test_a_bulk_update_that_is_done_ends_the_demotion_and_its_alarm() -> None:
    of = PaperReplicator()
    of.fell_behind()
    act(of, does.BulkFailed("fw2", "it fell silent"))
    assert (of.is_behind, of.actor.bulk, of.active_alarms()) == (False, "failed", {"pfsync/bulk"})
    of.fell_behind()
    act(of, does.BulkDone("fw2", 7, 0.0234))
    assert (of.is_behind, of.active_alarms()) == (False, set())
    assert (of.actor.bulk, of.actor.bulk_text) == ("done", "7 states of fw2 in 0.02 s")


def test_a_lonely_node_serves_and_has_no_alarm() -> None:
    of = PaperReplicator()
    of.fell_behind()
    act(of, does.BulkFailed("", "no peer was heard", lonely=True))
    assert (of.is_behind, of.active_alarms()) == (False, set())
    assert (of.actor.bulk, of.actor.bulk_text) == ("none", "no peer was heard")


# --- audits ------------------------------------------------------------------------------------------------


def audited() -> PaperReplicator:
    """A snapshot of the flows 1 to 4 in IPv4 and IPv6, of which 2 has ended since."""
    of = PaperReplicator()
    of.table.four, of.table.six = flows(1, 3, 4), flows6(1, 2)
    of.snapshot = Snapshot([flows(1, 2, 3, 4)], [flows6(1, 2)], 0.0)
    return of


def hashes(*made: Flows) -> does.Hashes:
    return np.concatenate([key_hashes(each) for each in made])


def test_an_audit_begins_when_it_is_wanted() -> None:
    assert act(PaperReplicator(), does.AuditWanted()).began["audit"] == 1


def test_a_peer_that_lacks_flows_gets_those_that_still_exist() -> None:
    of = act(audited(), does.AuditSend("fw2", hashes(flows(2, 3), flows6(2))))
    assert [(peer, ports(sent), sent["op"].tolist()) for peer, sent in of.protocol.repairs] == [
        ("fw2", [3], [Op.INSERT]),
        ("fw2", [2], [Op.INSERT]),
    ]


def test_what_ended_at_the_peer_is_deleted_here() -> None:
    of = act(audited(), does.AuditDelete("fw2", hashes(flows(1, 3), flows6(1))))
    gone = [applied for applied, extra_s, _ in of.table.applied if extra_s == 0]
    assert [(sorted(ports(each)), set(each["op"].tolist())) for each in gone] == [
        ([1, 3], {Op.DELETE}),
        ([1], {Op.DELETE}),
    ]
    assert of.protocol.offered == [], "the peer knows"


def test_without_a_snapshot_there_is_nothing_to_repair() -> None:
    nothing = hashes(flows(1))
    of = act(PaperReplicator(), does.AuditSend("fw2", nothing), does.AuditDelete("fw2", nothing))
    assert (of.protocol.repairs, of.table.applied) == ([], [])


def test_audits_add_up() -> None:
    done = does.AuditDone("fw2", sent=2, wanted=1, deleted=4, complete=True)
    of = act(PaperReplicator(), done, done)
    assert of.actor.audits == {"rounds": 2, "sent": 4, "wanted": 2, "deleted": 8}
    assert of.actor.last_audit is not None


# --- health ------------------------------------------------------------------------------------------------


def statuses(of: PaperReplicator) -> list[tuple[Health, str]]:
    return [(each.health, each.summary) for each in of.ctx.events(Status)]


def test_health_is_told_when_it_changes() -> None:
    def body(_: trio.testing.MockClock) -> None:
        of = PaperReplicator()
        of.actor.report_health()
        of.actor.report_health()
        of.protocol.peers = [report("fw2"), report("fw3"), report("fw4", alive=False)]
        of.actor.report_health()
        of.alarms.set("bulk", "incomplete", "resync")
        of.alarms.set("key", "no key", "make one", health=Health.FAIL)
        of.actor.report_health()
        assert statuses(of) == [
            (Health.OK, "no peer is heard"),
            (Health.OK, "replicates with fw2, fw3"),
            (Health.FAIL, "no key"),
        ]

    virtually(body)


def test_a_full_table_is_an_alarm_until_nothing_has_been_refused_for_a_while() -> None:
    def body(clock: trio.testing.MockClock) -> None:
        of = PaperReplicator()
        of.actor.report_health()
        assert of.active_alarms() == set()
        of.table.counters.table_full = 5
        of.actor.report_health()
        clock.jump(FULL_QUIET_S - 1)
        of.table.counters.table_full = 6
        of.actor.report_health()
        clock.jump(FULL_QUIET_S - 1)
        of.actor.report_health()
        assert of.active_alarms() == {"pfsync/table-full"}
        clock.jump(1)
        of.actor.report_health()
        assert of.active_alarms() == set()
        assert statuses(of)[-1] == (Health.OK, "no peer is heard")

    virtually(body)
