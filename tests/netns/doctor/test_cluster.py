"""A healthy cluster has no findings; each fault of it is named with a remedy that helps, and forgotten when mended."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance.lab import Lab, Topology
from appliance.lab.lab import unique_name
from appliance.lab.pairing import pair_all
from tests.netns.doctor import between_nodes, on_a_node, starting, surroundings
from tests.netns.doctor.doing import stop_all
from tests.netns.doctor.examining import SETTLE_S, Case, begin, provoke, wait_silent
from tests.netns.doctor.private import SETTINGS, PrivateLab

pytestmark = [pytest.mark.netns, pytest.mark.slow]

CASES = [*on_a_node.CASES, *surroundings.CASES, *between_nodes.CASES, *starting.CASES]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A whole firewall cluster, paired and in sync."""
    with PrivateLab(Topology(name=unique_name("d")), settings=SETTINGS) as built:
        surroundings.receive(built)
        built.wait_settled("fw1", deadline_s=SETTLE_S)
        pair_all(built)
        yield built


def test_on_a_healthy_cluster_the_doctor_is_silent_about_both_nodes(lab: Lab) -> None:
    for node, other in (("fw1", "fw2"), ("fw2", "fw1")):
        report = wait_silent(lab, node)
        (peer,) = report["peers"]
        assert (report["node"], peer["node"], peer["error"]) == (node, other, None)
        assert len(report["findings"]) == report["ok"] > 50
        assert {each["check"] for each in peer["findings"]} == {each["check"] for each in report["findings"]}


def test_faults_that_are_found_late_are_made_first(lab: Lab) -> None:
    for case in CASES:
        if case.slow:
            begin(lab, case)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_wrong_is_named_and_gone_when_the_remedy_was_followed(lab: Lab, case: Case) -> None:
    lab.wait_settled("fw1", deadline_s=SETTLE_S)
    try:
        provoke(lab, case)
    finally:
        lab.undo_all()
        stop_all(on_a_node.PROGRAMS)


def test_all_that_was_mended_is_forgotten(lab: Lab) -> None:
    between_nodes.sync(lab)  # by itself fw1 may look at the restarted fw2 only in a minute
    wait_silent(lab, "fw1")
