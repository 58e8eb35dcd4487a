"""One node examines both: over real TLS, and whatever the other one says."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.config.sections import canonical
from appliance.events.doctor import ExaminePeers
from appliance_xmlrpc_sync.examining import FINDINGS_MAX, TEXT_MAX, read_report
from tests.unit.plugins.xmlrpc_sync.nodes import FW2, Start

FINDING = {"check": "services", "plugin": "core", "health": "warn", "what": "w", "why": "", "fix": "f", "duration_s": 0}


async def test_the_other_node_answers_with_its_own_report(pair: Start) -> None:
    async with pair() as paired:
        assert await paired.one.call(ExaminePeers()) == []
        await paired.introduce()
        (report,) = await paired.one.call(ExaminePeers())
    assert (report["node"], report["address"], report["error"]) == ("fw2", FW2, None)
    checks = {each["check"] for each in report["findings"]}
    assert {"plugins", "services", "alarms", "sync-peers"} <= checks
    assert report["ok"] + report["warn"] + report["fail"] == len(report["findings"])


async def test_a_node_that_does_not_answer_is_told_with_a_remedy(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        await paired.two.command("pair remove fw1")
        (report,) = await paired.one.call(ExaminePeers())
    assert FW2 in report["error"]
    assert report["remedy"]
    assert report["findings"] == []


def test_counts_are_made_here_and_texts_are_cut() -> None:
    said = {"node": "liar", "ok": 99, "fail": 0, "findings": [FINDING | {"what": "x" * 9999, "health": "fail"}]}
    report = read_report(said, name="fw2", address=FW2)
    assert (report["node"], report["ok"], report["fail"]) == ("fw2", 0, 1)
    assert len(report["findings"][0]["what"]) == TEXT_MAX
    assert canonical(report)


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        {},
        {"findings": "none"},
        {"findings": [FINDING] * (FINDINGS_MAX + 1)},
        {"findings": [7]},
        {"findings": [FINDING | {"health": "splendid"}]},
        {"findings": [FINDING | {"fix": None}]},
        {"findings": [FINDING | {"duration_s": "long"}]},
    ],
)
def test_what_is_no_report_is_refused(said: Any) -> None:
    with pytest.raises(ValueError, match=r"findings|health|fix|duration_s"):
        read_report(said, name="fw2", address=FW2)
