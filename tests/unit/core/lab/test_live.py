"""A drill on a cluster in use: refused unless all is well, ended by the first failure, and put back in any case."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.errors import RefusedError, UsageError
from appliance.lab import live
from appliance.lab.live import LiveDrill, choose, cluster_of, rehearsals
from tests.unit.core.lab.live_scenes import FINDINGS, Node

ALL = ["switchover", "maintenance", "disable", "unplug-lan", "unplug-wan"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WELL_S", "EXAMINE_S", "SETTLE_S", "BACK_S", "CALM_S", "POWER_S"):
        monkeypatch.setattr(live, name, 0.05)
    monkeypatch.setattr(live, "POLL_S", 0.001)


def drill(node: Node, *, confirmed: bool = True) -> tuple[LiveDrill, list[str]]:
    said: list[str] = []
    return LiveDrill(node, say=said.append, confirm=lambda _: confirmed, hold_s=0.0), said


def chosen(node: Node, only: str = "", skip: str = "") -> list[live.LiveRehearsal]:
    return choose(rehearsals(node.show_carp()), only, skip)


def results(run: LiveDrill) -> dict[str, str]:
    return {each.name: each.result for each in run.report.outcomes if not each.looked_at}


def test_everything_is_rehearsed_that_needs_nobody_at_a_machine() -> None:
    node = Node()
    run, said = drill(node)
    report = run.run(chosen(node))
    assert node.rehearsed == ALL
    assert (report.passed, report.restored, report.node) == (True, True, "fw1")
    assert results(run) == dict.fromkeys(ALL, "passed")
    looked = {each.name: each.result for each in report.outcomes if each.looked_at}
    assert looked == {
        "doctor-before": "passed",
        **{f"{name}-{when}": "passed" for when in ("before", "after") for name in ("status", "DHCP")},
        **{f"{name}-{when}": "skipped" for when in ("before", "after") for name in ("replication", "synchronization")},
    }
    phases = [phase for each in report.outcomes for phase in each.phases]
    assert all(0 < phase.begun <= phase.ended for phase in phases)
    assert phases[0].said == "switchover has begun"
    assert any("switchover has begun" in line for line in said)


def test_what_is_nearly_over_may_take_its_moment() -> None:
    node = Node()
    node.doctor_fails = 1
    run, _ = drill(node)
    assert run.run(chosen(node)).passed


def test_names_choose_and_leave_out() -> None:
    node = Node()
    assert [each.name for each in chosen(node, "disable,unplug-wan")] == ["disable", "unplug-wan"]
    assert [each.name for each in chosen(node, "", "unplug-lan,unplug-wan")] == ["switchover", "maintenance", "disable"]
    assert [each.name for each in chosen(node, "power-off")] == ["power-off"]
    for only, skip in (("fire", ""), ("", "unplug-sync")):
        with pytest.raises(UsageError, match="there is no rehearsal"):
            chosen(node, only, skip)


def test_what_is_dangerous_is_asked_and_else_skipped() -> None:
    node = Node()
    run, _ = drill(node, confirmed=False)
    run.run(chosen(node))
    assert node.rehearsed == ["switchover", "maintenance", "disable"]
    assert results(run)["unplug-lan"] == "skipped"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"doctor_fails": 10**6}, r"the doctor finds failures on fw1 \(gateways-status\)"),
        ({"other": {"node": "fw2", "fail": 2, "findings": FINDINGS}}, r"failures on fw2 \(gateways-status\)"),
        ({"lost": True}, "no other node is heard"),
        ({"happening": "link:wan"}, "demoted itself: link:wan"),
        ({"is_master": False, "follows": False}, "nobody is MASTER of everything"),
    ],
)
def test_a_cluster_that_is_not_well_is_left_alone(change: dict[str, Any], why: str) -> None:
    node = Node()
    for name, value in change.items():
        setattr(node, name, value)
    run, _ = drill(node)
    with pytest.raises(RefusedError, match=why):
        run.run(chosen(node))
    assert node.rehearsed == []


@pytest.mark.parametrize("name", ALL)
def test_interrupted_at_any_step_it_waits_until_all_is_as_before(name: str) -> None:
    node = Node()
    node.interrupt_in = name
    run, _ = drill(node)
    with pytest.raises(KeyboardInterrupt):
        run.run(chosen(node))
    assert results(run)[name] == "aborted"
    assert (node.rehearsed[-1], node.happening, run.report.restored) == (name, "", True)


def test_a_node_that_refuses_ends_the_drill() -> None:
    node = Node()
    node.refuses = "maintenance"
    run, _ = drill(node)
    report = run.run(chosen(node))
    assert node.rehearsed == ["switchover"]
    assert results(run)["maintenance"] == "failed"
    assert (report.passed, report.restored) == (False, True)


def test_a_node_that_cannot_be_asked_is_no_obstacle_and_no_secret() -> None:
    node = Node()
    node.other = {"node": "the other nodes", "fail": 1, "error": "they are not paired"}
    run, said = drill(node)
    assert run.run(chosen(node)).passed
    assert said[0] == "doctor before: no failure on fw1; the other nodes: they are not paired"


def test_nobody_takes_over() -> None:
    node = Node(follows=False)
    run, _ = drill(node)
    run.run(chosen(node))
    (outcome,) = [each for each in run.report.outcomes if not each.looked_at]
    assert outcome.result == "failed"
    assert "another node is MASTER of everything" in outcome.why
    assert run.report.restored


def test_a_node_that_does_not_come_back_is_said_so() -> None:
    node = Node(returns=False)
    run, _ = drill(node)
    report = run.run(chosen(node))
    assert (report.passed, report.restored) == (False, False)
    assert "everything is as before" in report.error


def test_on_a_backup_there_is_nothing_to_hand_over() -> None:
    node = Node(is_master=False)
    run, _ = drill(node)
    run.run(chosen(node))
    assert (results(run)["switchover"], node.rehearsed) == ("skipped", ALL[1:])
    assert run.report.passed


def test_a_power_failure_that_does_not_happen_has_failed() -> None:
    node = Node()
    run, said = drill(node)
    run.run(chosen(node, "power-off"))
    assert results(run) == {"power-off": "failed"}
    assert any("take the power of fw2 now" in line for line in said)


def test_a_power_failure_is_seen_and_the_node_is_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "POWER_S", 5.0)
    node = Node(is_master=False)
    looks = 0

    def show_carp() -> dict[str, Any]:
        nonlocal looks
        looks += 1
        node.lost = 10 < looks < 30
        node.is_master = node.lost
        return Node.show_carp(node)

    chosen_one = chosen(node, "power-off")
    monkeypatch.setattr(node, "show_carp", show_carp)
    run, said = drill(node)
    report = run.run(chosen_one)
    (outcome,) = [each for each in report.outcomes if not each.looked_at]
    assert [phase.title for phase in outcome.phases] == ["the other node is gone", "it is back"], said
    assert report.passed


def test_a_node_without_virtual_hosts_has_nothing_to_rehearse(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node()
    monkeypatch.setattr(node, "show_carp", lambda: {"vips": []})
    with pytest.raises(RefusedError, match="no virtual hosts"):
        cluster_of(node)
