"""Every fault of a node is named by the doctor with a remedy that helps, and forgotten when it is mended."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance.lab import Lab, NodeSettings, Topology
from appliance.lab.lab import unique_name
from appliance.lab.pairing import pair_all
from tests.netns.doctor.examining import SETTLE_S, Case, provoke
from tests.netns.doctor.on_a_node import CASES

pytestmark = [pytest.mark.netns, pytest.mark.slow]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A whole firewall cluster with DHCP, paired and in sync."""
    everything = NodeSettings(profile="fast", pfsync={}, firewall=True, xmlrpc_sync=True, dhcp={})
    with Lab(Topology(name=unique_name("d")), settings=everything) as built:
        built.wait_settled("fw1", deadline_s=SETTLE_S)
        pair_all(built)
        yield built


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_wrong_is_named_and_gone_when_the_remedy_was_followed(lab: Lab, case: Case) -> None:
    try:
        provoke(lab, case)
    finally:
        lab.undo_all()
