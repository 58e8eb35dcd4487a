"""A whole cluster with ``defer = true``: first packets wait for the peer, and connections work as without."""

from __future__ import annotations

import pytest

from appliance.lab import Lab, Topology
from appliance.lab.config import NodeSettings
from appliance.lab.lab import unique_name
from appliance.lab.waiting import wait_until
from tests.netns.pfsync import natrules
from tests.netns.pfsync.connections import answers, idle_connection, pfsync, replicated

pytestmark = pytest.mark.netns

SOON_S = 150.0
"""The virtual machine is slow."""


@pytest.mark.timeout(500)
def test_the_first_packet_of_a_connection_waits_until_the_peer_has_its_state() -> None:
    with Lab(Topology(name=unique_name("d")), settings=NodeSettings(pfsync={"defer": True})) as lab:
        for node in ("fw1", "fw2"):
            natrules.load(lab, node)
        lab.wait_settled("fw1", deadline_s=SOON_S)
        wait_until(lambda: replicated(lab, "fw1") >= 0 and pfsync(lab, "fw1")["peer"], "both replicate", SOON_S)
        with idle_connection(lab) as connection:
            assert answers(connection)
            wait_until(lambda: replicated(lab, "fw2") == 1, "fw2 has the connection", SOON_S)
        counters = pfsync(lab, "fw1")["counters"]
        assert counters["defer_held"] >= 2, "the SYN and its answer"
        assert counters["defer_held"] == counters.get("defer_confirmed", 0) + counters.get("defer_expired", 0)
        lab.stop("fw1")
        assert "deferred" not in lab.exec("fw1", "nft", "list", "ruleset").stdout
