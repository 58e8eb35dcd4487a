"""Every mistake that a configuration may have and still be accepted is named, and gone when it is corrected."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance.lab import Lab, Topology
from appliance.lab.lab import unique_name
from appliance.lab.pairing import pair_all
from tests.netns.doctor.examining import SETTLE_S, Case, begin, provoke, wait_found, wait_gone
from tests.netns.doctor.in_the_file import CASES, SETTINGS
from tests.netns.doctor.private import PrivateLab

pytestmark = [pytest.mark.netns, pytest.mark.slow]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Two firewalls that are not paired: what is in the file of one stays there."""
    with PrivateLab(Topology(name=unique_name("d")), settings=SETTINGS) as built:
        yield built


def test_a_mistake_that_is_found_after_a_minute_is_made_first(lab: Lab) -> None:
    lab.wait_settled("fw1", deadline_s=SETTLE_S)
    for case in CASES:
        if case.slow:
            begin(lab, case)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_mistake_is_named_and_gone_when_the_remedy_was_followed(lab: Lab, case: Case) -> None:
    provoke(lab, case)


def test_nodes_that_are_not_paired_are_named_and_well_when_they_are(lab: Lab) -> None:
    found = wait_found(
        lab,
        "fw1",
        {
            "sync-peers": "172.16.1.3: this node is not paired with 172.16.1.3",
            "dhcp-peer": "leases stay on this node: ",
        },
    )
    assert all("'appliance pair" in each["fix"] for each in found.values())
    pair_all(lab)
    wait_gone(lab, "fw1", *found)
