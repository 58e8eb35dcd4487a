"""After a commit the shell says what became of it on the other nodes."""

from typing import Any

import pytest

from appliance.console.shell.sync import WAIT_S, peers_after
from appliance.errors import ApplianceError


def peer(state: str, **more: Any) -> dict[str, Any]:
    return {"name": "fw2", "address": "172.16.1.3", "state": state, "busy": False, "last_push_ms": 75, **more}


def told(*answers: dict[str, Any] | None, revision: int = 7) -> list[str]:
    """What is printed when `show sync` answers one after the other, and the last for ever."""
    clock, left = [0.0], list(answers)

    def ask(path: str, argv: list[str]) -> Any:
        assert (path, argv) == ("socket", ["show", "sync"])
        answer = left.pop(0) if len(left) > 1 else left[0]
        if answer is None:
            raise ApplianceError("no such command", hint="x")
        return answer

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    lines = list(peers_after("socket", revision, clock=lambda: clock[0], sleep=sleep, ask=ask))
    assert clock[0] <= WAIT_S + 1
    return lines


def shown(*peers: dict[str, Any], generation: int = 7, state: str = "in-sync") -> dict[str, Any]:
    return {"state": state, "generation": generation, "peers": list(peers)}


def test_it_waits_until_every_peer_has_it() -> None:
    answers = [
        shown(peer("in-sync"), generation=6),
        shown(peer("behind")),
        shown(peer("in-sync", busy=True)),
        shown(peer("in-sync")),
    ]
    assert told(*answers) == ["fw2: in-sync, sent in 75 ms"]


def test_a_failure_is_told_with_its_remedy() -> None:
    failing = peer("failing", last_push_ms=None, error="refused", remedy="Pair the nodes.")
    assert told(shown(failing)) == ["fw2: failing", "  refused", "  -> Pair the nodes."]


def test_it_does_not_wait_for_ever() -> None:
    assert told(shown(peer("behind"))) == ["fw2: behind, sent in 75 ms"]


def test_what_is_not_confirmed_is_not_sent() -> None:
    def ask(path: str, argv: list[str]) -> Any:
        return shown(peer("in-sync"))

    assert list(peers_after("socket", 9, is_pending=True, ask=ask)) == ["fw2: gets it when it is confirmed"]


def test_what_is_only_sent_by_hand_is_not_waited_for() -> None:
    assert told({**shown(peer("behind", last_push_ms=None)), "policy": "manual"}) == ["fw2: behind"]


@pytest.mark.parametrize("answer", [None, shown(), shown(peer("off"), state="off")])
def test_a_node_that_sends_to_nobody_says_nothing(answer: dict[str, Any] | None) -> None:
    assert told(answer) == []
