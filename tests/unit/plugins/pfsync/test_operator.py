"""What operators ask: the report, the table, resync, flush and kill."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import trio
import trio.testing

from appliance.errors import RefusedError, UsageError
from appliance.events import Health, Request
from appliance_pfsync import operator
from appliance_pfsync.defer import Defer
from appliance_pfsync.events import CountStates, FlushStates, GetPfsync, GetStates, KillStates, ResyncStates
from appliance_pfsync.flow import ICMP, UDP, Op
from appliance_pfsync.operator import Operator
from tests.unit.plugins.pfsync.deferred import FakeQueue
from tests.unit.plugins.pfsync.fakes import OWN, SETTINGS, PaperReplicator, flows, flows6, joined, ports, report


def ask(of: PaperReplicator, request: Request[Any]) -> Any:
    """The answer of whoever is registered for the request, in virtual time."""
    handlers = dict(Operator(of).handlers())  # type: ignore[arg-type]

    async def main() -> Any:
        return await handlers[type(request)](request)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def replicating() -> PaperReplicator:
    """With a peer, and a table of three TCP and one UDP connections, one of them the node's own."""
    of = PaperReplicator()
    of.protocol.peers = [report("fw3", alive=False), report("fw2")]
    of.table.four = joined(flows(1, 2), flows(3, client=OWN), flows(4, proto=UDP))
    of.table.six = flows6(9)
    return of


# --- the report --------------------------------------------------------------------------------------------


def test_the_report_names_the_first_peer_that_is_alive() -> None:
    answer = ask(replicating(), GetPfsync())
    assert (answer["peer"], answer["peer_states"], answer["lag_ms"]) == ("fw2", 7, 1.234)
    assert [(peer["name"], peer["alive"], peer["version"]) for peer in answer["peers"]] == [
        ("fw3", False, "1"),
        ("fw2", True, "1"),
    ]
    assert (answer["node"], answer["interface"], answer["version"]) == ("fw1", "sync", "native")
    assert (answer["secured"], answer["active"], answer["error"]) == (True, True, None)


def test_states_are_secured_by_a_key_file_or_by_the_pairing_and_else_not() -> None:
    of = PaperReplicator()
    for is_paired in (True, False):
        of.settings = replace(SETTINGS, key_file=None, is_paired=is_paired)
        assert ask(of, GetPfsync())["secured"] is is_paired


def test_a_lag_that_is_not_known_is_no_number() -> None:
    of = PaperReplicator()
    of.protocol.peers = [report(lag_s=None, states=None)]
    answer = ask(of, GetPfsync())
    assert (answer["peer"], answer["lag_ms"], answer["peer_states"]) == ("fw2", None, None)
    of.protocol.peers = []
    assert ask(of, GetPfsync())["peer"] is None


def test_the_counters_of_deferral_are_there_while_nothing_is_held() -> None:
    of = PaperReplicator()
    assert not [name for name in ask(of, GetPfsync())["counters"] if name.startswith("defer_")]
    of.defer = Defer(FakeQueue())
    of.defer.counters["held"] = 3
    assert ask(of, GetPfsync())["counters"]["defer_held"] == 3


def test_every_counter_is_in_the_report() -> None:
    of = replicating()
    of.actor.counters["requests"] = 2
    of.link.counters.opackets, of.link.counters.ipackets, of.link.counters.badttl = 50, 40, 1
    of.table.counters.created, of.table.counters.failed = 7, 3
    counters = ask(of, GetPfsync())["counters"]
    expected = {
        "hellos": 3, "requests": 2, "opackets": 50, "ipackets": 40, "badttl": 1, "oerrors": 0,
        "created": 7, "updated": 0, "deleted": 0, "clashed": 0, "table_full": 0, "refused_by_kernel": 3,
    }  # fmt: skip
    assert counters == expected


def test_a_bulk_update_runs_while_the_node_is_behind() -> None:
    of = replicating()
    of.actor.bulk = "done"
    assert ask(of, GetPfsync())["bulk"] == "done"
    of.fell_behind()
    assert ask(of, GetPfsync())["bulk"] == "running"


def test_what_keeps_it_from_running_is_the_error_with_its_remedy() -> None:
    of = replicating()
    of.alarms.set("key", "there is no key", "Make one.", health=Health.FAIL)
    assert ask(of, GetPfsync())["error"] is None, "it still runs with the keys that it has"
    of.is_running = False
    answer = ask(of, GetPfsync())
    assert (answer["error"], answer["remedy"]) == ("there is no key", "Make one.")


def test_times_are_those_of_the_world() -> None:
    of = replicating()
    assert ask(of, GetPfsync())["audit"]["last"] is None
    of.actor.last_audit = 1_750_000_000.25
    assert ask(of, GetPfsync())["audit"]["last"] == "2025-06-15T15:06:40Z"


# --- resync and flush --------------------------------------------------------------------------------------


def test_a_resync_asks_the_peers_and_makes_the_node_a_worse_candidate_meanwhile() -> None:
    of = replicating()
    assert ask(of, ResyncStates()).startswith("fw2 was asked for all states")
    assert (of.protocol.asked, of.is_behind) == (["bulk"], True)
    assert of.began["flush"] == of.began["rearm"] == 1


@pytest.mark.parametrize("peers", [[], [report(alive=False)]])
def test_a_resync_without_a_peer_is_refused_in_words(peers: list[Any]) -> None:
    of = PaperReplicator()
    of.protocol.peers = peers
    with pytest.raises(RefusedError, match="no pfsync peer is heard") as refused:
        ask(of, ResyncStates())
    assert "show pfsync" in refused.value.hint
    assert (of.protocol.asked, of.is_behind) == ([], False)


def test_a_flush_tells_the_peers_before_it_removes_here() -> None:
    of = replicating()
    order: list[str] = []
    remove = of.remove_replicated

    async def remove_later() -> int:
        order.extend([*of.protocol.asked, *(["sent"] * of.began["flush"])])
        return await remove()

    of.remove_replicated = remove_later  # type: ignore[method-assign]
    assert ask(of, FlushStates()) == "4 states removed here, and every peer was told to do the same"
    assert order == ["clear", "sent"]


# --- the table ---------------------------------------------------------------------------------------------


def test_states_are_filtered_and_those_beyond_the_limit_are_counted() -> None:
    of = replicating()
    answer = ask(of, GetStates(words=("tcp",), limit=2))
    assert answer["matching"] == 4
    assert len(answer["states"]) == 2
    assert all(row["proto"] == "tcp" for row in answer["states"])
    everything = ask(of, GetStates(words=(), limit=100))
    assert everything["matching"] == len(everything["states"]) == 5


def test_a_filter_that_means_nothing_is_refused_before_the_table_is_read() -> None:
    of = replicating()
    of.table.dump = None  # type: ignore[assignment,method-assign]
    for request in (GetStates(words=("tpc",), limit=9), KillStates(words=("tpc",))):
        with pytest.raises(UsageError, match="'tpc' is no filter for states"):
            ask(of, request)


def test_the_count_is_by_protocol_and_tells_how_many_are_replicated() -> None:
    of = replicating()
    of.table.four = joined(of.table.four, flows(5, proto=ICMP))
    answer = ask(of, CountStates())
    assert (answer["states"], answer["replicated"]) == (6, 5)
    assert answer["protocols"] == {"tcp": 4, "udp": 1, "icmp": 1}
    assert isinstance(answer["max"], int)


# --- kill --------------------------------------------------------------------------------------------------


def test_a_kill_removes_here_and_tells_the_peers_of_what_they_have() -> None:
    of = replicating()
    assert ask(of, KillStates(words=("tcp", "0.0.0.0/0"))) == "3 states removed here and on the peers"
    removed = joined(*(applied for applied, _, _ in of.table.applied))
    told = joined(*of.protocol.offered)
    assert (ports(removed), set(removed["op"].tolist())) == ([1, 2, 3], {Op.DELETE})
    assert ports(told) == [1, 2], "the node's own connection is nobody's business"
    assert set(told["op"].tolist()) == {Op.DELETE}
    assert of.began["flush"] > 0
    assert of.began["rearm"] > 0


def test_a_kill_that_matches_nothing_says_so() -> None:
    of = replicating()
    assert ask(of, KillStates(words=("10.9.9.9",))) == "0 states removed here and on the peers"
    assert (of.table.applied, of.protocol.offered) == ([], [])


def test_a_kill_without_words_is_refused() -> None:
    of = replicating()
    with pytest.raises(UsageError, match="no state was named") as refused:
        ask(of, KillStates(words=()))
    assert "states flush" in refused.value.hint
    assert of.table.applied == []


def test_too_many_are_not_killed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator, "FOUND_MAX", 3)
    of = replicating()
    with pytest.raises(RefusedError, match="4 states match, too many"):
        ask(of, KillStates(words=("tcp",)))
    assert of.table.applied == []
