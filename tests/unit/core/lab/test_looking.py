"""What a drill looks at: each thing once, with patience afterwards, and without what is not configured."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.lab import looking
from appliance.lab.live_checks import Situation
from appliance.lab.looking import all_is_well, look
from tests.unit.core.lab.live_scenes import Node

BEFORE = Situation(node="fw1", master="fw1", nodes={"fw2": True})


def test_what_a_node_does_not_have_is_skipped_with_its_words() -> None:
    said: list[str] = []
    seen = look(Node().ask, BEFORE, "before", patience_s=0, say=said.append)
    assert [(each.name, each.result) for each in seen] == [
        ("status-before", "passed"),
        ("replication-before", "skipped"),
        ("synchronization-before", "skipped"),
        ("DHCP-before", "passed"),
    ]
    assert all(each.looked_at for each in seen)
    assert said[0] == "status before: fw1 is well; fw2 BACKUP"
    assert all_is_well(seen)


def test_something_may_be_wrong_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "POLL_S", 0.001)
    node, asked = Node(), 0

    def ask(*words: str) -> dict[str, Any]:
        nonlocal asked
        if words == ("show", "ha"):
            asked += 1
            problems = [{"what": "a gateway is down", "health": "fail"}] if asked < 5 else []
            return node.ask(*words) | {"problems": problems}
        return node.ask(*words)

    assert not all_is_well(look(ask, BEFORE, "after", patience_s=0, say=lambda _: None))
    assert all_is_well(look(ask, BEFORE, "after", patience_s=10, say=lambda _: None))
