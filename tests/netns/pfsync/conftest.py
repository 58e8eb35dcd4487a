"""A cluster that replicates its states and is a strict firewall: one per module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance.lab import Lab, Topology
from appliance.lab.config import NodeSettings
from appliance.lab.lab import unique_name
from tests.netns.pfsync import natrules

NODES = ("fw1", "fw2")


@pytest.fixture(scope="module")
def firewalls() -> Iterator[Lab]:
    """The example cluster with ``[pfsync]``, fw1 as MASTER of everything."""
    with Lab(Topology(name=unique_name("p")), settings=NodeSettings(pfsync={})) as lab:
        for node in NODES:
            natrules.load(lab, node)
        lab.wait_settled("fw1")
        yield lab


@pytest.fixture
def cluster(firewalls: Lab) -> Iterator[Lab]:
    """The module's cluster: settled on fw1 before the test, without faults after it."""
    firewalls.wait_settled("fw1")
    yield firewalls
    firewalls.undo_all()
