"""Every check of the doctor has its fault in the lab, and is seen to find it and to be content again."""

from __future__ import annotations

from tests.meta.source import ROOT
from tests.meta.troubleshooting_page import checks_of, name_of, sources
from tests.netns.doctor import between_nodes, in_the_file, on_a_node, starting, surroundings

CASES = [case for each in (between_nodes, in_the_file, on_a_node, starting, surroundings) for case in each.CASES]
ELSEWHERE = {
    # A namespace has no clock of its own that anybody could keep.
    "clock": "tests/unit/core/test_doctor.py",
    # It tells which rules are off; that is no fault.
    "firewall-schedules": "tests/unit/plugins/firewall/test_checks.py",
    # The kernels of labs need not be able to aggregate links; that of the guest is.
    "lagg-members": "tests/guest/lagg/test_service.py",
    "lagg-switches": "tests/guest/lagg/test_neighbours.py",
    "lagg-partner": "tests/guest/lagg/test_doctor.py",
    "lagg-speed": "tests/guest/lagg/test_doctor.py",
}
"""Checks whose fault a lab cannot have, each with the test that has it."""


def test_every_check_has_its_fault_in_the_lab_or_a_reason_why_not() -> None:
    known = {name_of(check) for source in sources() for check in checks_of(source)}
    provoked = {check for case in CASES for check in case.finds}
    assert provoked | ELSEWHERE.keys() == known
    assert provoked & ELSEWHERE.keys() == set()


def test_what_is_tested_elsewhere_is() -> None:
    missing = []
    for check, path in ELSEWHERE.items():
        text = (ROOT / path).read_text()
        if not any(f'"{name}"' in text for name in (check, check.partition("-")[2])):
            missing.append(check)
    assert missing == []
