"""Clusters of real nodes for the tests of CARP: one per module, healthy before and after each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance.lab import Lab, Topology
from appliance.lab.lab import unique_name

SETTLE_S = 40.0
"""Two nodes start at once on a machine that may be busy; an idle one needs five seconds."""


@pytest.fixture(scope="module")
def settled() -> Iterator[Lab]:
    """The example cluster with fw1 as MASTER of everything."""
    with Lab(Topology(name=unique_name("c"))) as lab:
        lab.wait_settled("fw1", deadline_s=SETTLE_S)
        yield lab


@pytest.fixture
def cluster(settled: Lab) -> Iterator[Lab]:
    """The module's cluster: settled on fw1 before the test, without faults after it."""
    settled.wait_settled("fw1", deadline_s=SETTLE_S)
    yield settled
    settled.undo_all()
