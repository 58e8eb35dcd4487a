"""What the doctor concludes from what arrives and what does not."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from appliance.events import Health
from appliance.plugin import Finding
from appliance_carp.wiring import everything_arrives, one_master
from tests.unit.plugins.carp.test_checks import Patient

ROW: dict[str, Any] = {
    "peer": "fw1", "alive": True, "interface": "lan", "device": "lan0", "address": "192.168.1.2", "arp": True,
    "hello": True, "master": [1], "unheard": [], "refused": [], "deaf": [], "both": [],
}  # fmt: skip


def run(check: Any, patient: Patient) -> Finding:
    found: Finding = trio.run(check, patient, clock=trio.testing.MockClock(autojump_threshold=0))
    return found


def found(**changes: Any) -> Finding:
    return run(everything_arrives, Patient(answer=[ROW, ROW | {"interface": "wan"} | changes]))


@pytest.mark.parametrize(
    ("changes", "what", "fix"),
    [
        ({"arp": False, "hello": False, "unheard": [1]}, "not even ARP reaches", "VLAN"),
        ({"hello": False, "unheard": [1]}, "multicast does not arrive from", "IGMP"),
        ({"hello": False, "master": []}, "multicast does not arrive from", "IGMP"),
        ({"hello": False}, "multicast does not arrive from", "IGMP"),
        ({"hello": None, "unheard": [1]}, "multicast does not arrive from", "IGMP"),
        ({"arp": None, "hello": False, "master": []}, "multicast does not arrive from", "IGMP"),
        ({"unheard": [1]}, "adverts do not arrive from", "forged transmits"),
        ({"deaf": [1]}, "frames to the virtual MAC do not reach", "promiscuous"),
    ],
)
def test_what_is_missing_names_who_loses_it(changes: dict[str, Any], what: str, fix: str) -> None:
    finding = found(**changes)
    assert finding.health is Health.FAIL
    assert finding.what.startswith(f"{what} fw1 (192.168.1.2) on wan")
    assert fix in finding.fix


def test_a_machine_without_heartbeat_is_not_taken_for_a_filter() -> None:
    finding = found(alive=False, hello=False, master=[])
    assert (finding.health, finding.what.split(" from ")[0]) == (Health.WARN, "no heartbeat comes")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"hello": None},
        {"arp": None},
        {"master": []},
        {"alive": False, "arp": False, "hello": False, "master": []},  # it is off: that is said elsewhere
        {"unheard": [], "refused": [1]},  # not lost but not believed: that is an alarm
    ],
)
def test_what_is_as_it_should_be_or_told_elsewhere_is_not_told_here(changes: dict[str, Any]) -> None:
    finding = found(**changes)
    assert (finding.health, finding.what) == (Health.OK, "everything arrives on lan, wan")


def test_two_masters_are_named_with_the_network() -> None:
    finding = run(one_master, Patient(answer=[ROW | {"both": [1, 7]}]))
    assert (finding.health, finding.what) == (Health.FAIL, "two nodes are MASTER of lan@1 with fw1, lan@7 with fw1")
    assert "doctor --peers" in finding.fix
    assert run(one_master, Patient(answer=[ROW])).health is Health.OK


@pytest.mark.parametrize("answer", [None, "never"])
@pytest.mark.parametrize("check", [everything_arrives, one_master])
def test_a_service_that_does_not_answer_fails_with_a_remedy(check: Any, answer: str | None) -> None:
    finding = run(check, Patient(answer=answer))
    assert (finding.health, finding.what) == (Health.FAIL, "the carp service does not answer")
