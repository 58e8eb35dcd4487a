"""What `show sync`, `sync now` and `sync diff` tell."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from appliance.plugin import Node
from appliance_xmlrpc_sync.causes import Cause, Failure
from appliance_xmlrpc_sync.preflight import Hello
from appliance_xmlrpc_sync.report import document, peer_state, render, render_diff, render_result
from appliance_xmlrpc_sync.settings import SenderSettings
from appliance_xmlrpc_sync.vocabulary import Known, Outcome, SectionFact, SectionState, Verdict

FW1 = Node(name="fw1", role="primary")
SETTINGS = SenderSettings(interface="sync", device="sync0", addresses=("172.16.1.2",))
IN_SYNC = Outcome(verdict=Verdict.IN_SYNC, revision=7)
REFUSED = Failure(cause=Cause.REFUSED, what="nothing listens there", fix="start it")


@dataclass
class Clock:
    due: float = 112.5


@dataclass
class Peer:
    address: str = "172.16.1.3"
    label: str = "fw2"
    fingerprint: str = "AAAA:BBBB"
    known: Known = field(default_factory=Known)
    failure: Failure | None = None
    outcome: Outcome | None = IN_SYNC
    last_success: float | None = 1_700_000_000.0
    last_push_ms: int | None = 24
    is_busy: bool = False
    pace: Clock = field(default_factory=Clock)


def known() -> Known:
    return Known(
        hello=Hello(node="fw2", role="secondary", version="0.1.0", api=(1, 0), time=0.0),
        skew_s=-1.23456,
        revision=40,
        sections={
            "rules": SectionFact(state=SectionState.IN_SYNC),
            "aliases": SectionFact(state=SectionState.DRIFT, who="ann", when="2023-11-14T22:13:20Z"),
            "schedules": SectionFact(state=SectionState.OFF),
        },
    )


def told(*peers: Peer) -> dict[str, Any]:
    made = document(peers, SETTINGS, node=FW1, revision=7, now=100.0, wall=1_700_000_004.2)
    assert json.loads(json.dumps(made)) == made, "it is JSON"
    return made


def test_the_facts_of_a_peer_in_sync() -> None:
    made = told(Peer(known=known()))
    promised = ("role", "peer", "state", "generation", "peer_generation", "last_success", "error", "remedy")
    assert {key: made[key] for key in promised} == {
        "role": "primary",
        "peer": "fw2",
        "state": "in-sync",
        "generation": 7,
        "peer_generation": 40,
        "last_success": "2023-11-14T22:13:20Z",
        "error": None,
        "remedy": None,
    }
    (row,) = made["peers"]
    assert (row["address"], row["rank"], row["fingerprint"]) == ("172.16.1.3", 1, "AAAA:BBBB")
    assert (row["version"], row["api"], row["skew_s"], row["next_retry_s"]) == ("0.1.0", "1.0", -1.235, 12.5)
    assert row["sections"][1] == {"name": "aliases", "state": "drift", "who": "ann", "when": "2023-11-14T22:13:20Z"}


def test_of_several_peers_the_worst_is_the_state_of_the_node() -> None:
    made = told(Peer(), Peer(label="fw3", failure=REFUSED), Peer(label="fw4", outcome=None))
    assert (made["state"], made["peer"], made["error"]) == ("failing", "fw3", "nothing listens there")
    assert [row["state"] for row in made["peers"]] == ["in-sync", "failing", "behind"]
    assert [row["rank"] for row in made["peers"]] == [1, 2, 3]


def test_a_node_without_peers_is_off() -> None:
    made = told()
    assert (made["state"], made["peer"], made["peers"]) == ("off", "", [])
    assert "sends its configuration to nobody" in render(made)


def test_what_waits_is_behind_and_says_for_what() -> None:
    cases = {
        None: "has not been looked at yet",
        Outcome(verdict=Verdict.PENDING, revision=7): "the policy is manual",
        Outcome(verdict=Verdict.UNCONFIRMED, revision=7): "waits to be confirmed",
    }
    for outcome, why in cases.items():
        peer = Peer(outcome=outcome)
        assert peer_state(peer, 7) == "behind"
        assert why in told(peer)["peers"][0]["why"]


def test_a_change_that_has_not_been_looked_at_is_on_its_way() -> None:
    older = Outcome(verdict=Verdict.IN_SYNC, revision=6)
    made = told(Peer(outcome=older))
    assert (made["state"], made["peers"][0]["why"]) == ("behind", "the latest change is on its way")
    assert peer_state(Peer(outcome=older), None) == "in-sync"


def test_while_a_look_is_under_way_there_is_no_next_retry() -> None:
    (row,) = told(Peer(is_busy=True, pace=Clock(math.inf)))["peers"]
    assert (row["busy"], row["next_retry_s"]) == (True, None)
    assert told(Peer(pace=Clock(90.0)))["peers"][0]["next_retry_s"] == 0.0


def test_the_screen_of_a_peer_in_sync() -> None:
    assert render(told(Peer(known=known()))).splitlines() == [
        "fw1: primary, revision 7, synchronization in-sync",
        "",
        "fw2 (172.16.1.3): in-sync",
        "  version 0.1.0, API 1.0, revision 40, clock 1.235 s behind",
        "  certificate AAAA:BBBB",
        "  as of 4.2 s ago, last push took 24 ms; next look in 12.5 s",
        "  rules      in-sync",
        "  aliases    DRIFT by ann, 2023-11-14T22:13:20Z",
        "  schedules  off",
    ]


@pytest.mark.parametrize(
    ("at", "said"),
    [(1_700_000_000.0, "4.2 s"), (1_699_999_700.0, "5 min"), (1_699_992_800.0, "2 h 0 min"), (1_700_000_100.0, "0 s")],
)
def test_the_screen_says_how_old_it_is(at: float, said: str) -> None:
    assert f"  as of {said} ago, last push" in render(told(Peer(known=known(), last_success=at)))


def test_the_screen_of_a_peer_that_was_never_reached() -> None:
    peer = Peer(label="172.16.1.3", fingerprint="", failure=REFUSED, last_success=None, last_push_ms=None)
    assert render(told(peer)).splitlines()[2:] == [
        "172.16.1.3: failing",
        "  nothing listens there",
        "  -> start it",
        "  never reached; next look in 12.5 s",
    ]


def test_what_came_of_sync_now() -> None:
    pushed = Outcome(verdict=Verdict.IN_SYNC, revision=7, pushed=("rules", "aliases"), kept=("x.json",))
    pending = Outcome(verdict=Verdict.UNCONFIRMED, revision=7)
    peers = (Peer(outcome=pushed), Peer(label="fw3"), Peer(label="fw4", failure=REFUSED), Peer(outcome=pending))
    assert render_result(told(*peers)).splitlines() == [
        "fw2: sent rules, aliases in 24 ms; confirmed and compared",
        "  what was changed there is kept there as x.json",
        "fw3: in sync, nothing to send",
        "fw4: nothing listens there",
        "  -> start it",
        "fw2: the change on this node waits to be confirmed and travels then",
    ]


def test_a_large_configuration_is_said_to_be_large() -> None:
    data = document(
        [Peer()], replace(SETTINGS, large="it has 6 MB"), node=FW1, revision=7, now=100.0, wall=1_700_000_004.2
    )
    assert data["warning"] == "it has 6 MB"
    assert "\n\nwarning: it has 6 MB\n\n" in render(data)
    assert "warning" not in render(document([Peer()], SETTINGS, node=FW1, revision=7, now=100.0, wall=1_700_000_004.2))


def test_the_screen_of_differences() -> None:
    keys = [
        {"key": "rule[a].port", "change": "added", "there": None, "here": "80"},
        {"key": "rule[b].port", "change": "removed", "there": "81", "here": None},
        {"key": "password", "change": "changed", "there": '"**********"', "here": '"**********"'},
    ]
    section = {"name": "rules", "state": "drift", "who": "ann", "when": "", "keys": keys, "more": True}
    data = {
        "peers": [
            {"peer": "fw2", "error": None, "remedy": None, "sections": [section]},
            {"peer": "fw3", "error": None, "remedy": None, "sections": []},
            {"peer": "fw4", "error": "no", "remedy": "do", "sections": []},
        ]
    }
    assert render_diff(data).splitlines() == [
        "fw2: a push would change (there -> here)",
        "  rules, changed there by ann",
        "    + rule[a].port = 80",
        "    - rule[b].port = 81",
        '    ~ password: "**********" -> "**********"',
        "    …",
        "fw3: has what it should have",
        "fw4: no",
        "  -> do",
    ]


def test_what_a_secondary_has_received() -> None:
    sections = {
        "rules": {"digest": "a", "origin": "fw1", "at": 1_700_000_000.0, "drift": False},
        "aliases": {"digest": "b", "origin": "fw1", "at": 1_700_000_000.0, "drift": True},
        "gateways": {"digest": "c", "origin": "", "at": 0.0, "drift": False},
    }
    lines = render(told() | {"received": {"phase": "idle", "sections": sections}}).splitlines()
    assert lines[-3:] == [
        "received: confirmed",
        "  rules    from fw1, 2023-11-14T22:13:20Z: as received",
        "  aliases  from fw1, 2023-11-14T22:13:20Z: DRIFT, changed here since",
    ]
    assert render(told() | {"received": {"phase": "idle", "sections": {}}}).endswith("received: nothing yet")
    waiting = render(told() | {"received": {"phase": "unconfirmed", "sections": sections}})
    assert "received: a change waits to be confirmed" in waiting
