"""No connection is lost when a node takes over, whatever the reason; without replication they are."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from appliance.errors import ApplianceError
from appliance.lab import Lab, Topology
from appliance.lab.lab import unique_name
from appliance.lab.waiting import is_all, wait_until
from tests.netns.pfsync import flows, natrules
from tests.netns.pfsync.connections import opened, pfsync

pytestmark = pytest.mark.netns

BACKGROUND = 4000
SETTLE_S = 40.0


def has_states(lab: Lab, node: str, count: int) -> None:
    wait_until(lambda: natrules.entries(lab, node) >= count, f"{node} has {count} states", SETTLE_S)


def answers_pfsync(lab: Lab, node: str) -> bool:
    try:
        return bool(pfsync(lab, node))
    except ApplianceError:  # the service is being started
        return False


def has_everything(lab: Lab, node: str, other: str) -> None:
    wait_until(
        lambda: answers_pfsync(lab, node) and pfsync(lab, node)["bulk"] == "done",
        f"{node} has the states of {other}",
        SETTLE_S,
    )


def back_on_fw1(lab: Lab) -> None:
    lab.wait_settled("fw1", deadline_s=SETTLE_S)
    has_everything(lab, "fw1", "fw2")


def fw2_serves(lab: Lab) -> None:
    lab.wait_for(lambda seen: is_all(seen.get("fw2"), "MASTER"), "fw2 has everything", SETTLE_S)


def death(lab: Lab) -> None:
    lab.power_off("fw1")
    fw2_serves(lab)
    natrules.boot(lab, "fw1")
    back_on_fw1(lab)


def cable(lab: Lab) -> None:
    lab.pull("fw1", "wan")
    fw2_serves(lab)
    lab.plug("fw1", "wan")
    back_on_fw1(lab)


def planned(lab: Lab) -> None:
    lab.exec("fw1", "appliance", "ha", "switchover")
    fw2_serves(lab)
    lab.exec("fw2", "appliance", "ha", "switchover")
    back_on_fw1(lab)


def killed(lab: Lab) -> None:
    lab.kill("fw1", "main")
    fw2_serves(lab)
    back_on_fw1(lab)  # it starts again by itself


@pytest.mark.parametrize("fault", [death, cable, planned, killed])
def test_no_connection_is_lost_there_and_back(cluster: Lab, fault: Callable[[Lab], None]) -> None:
    flows.sink(cluster)
    flows.fill(cluster, lambda: natrules.entries(cluster, "fw1"), BACKGROUND)
    has_states(cluster, "fw2", BACKGROUND)
    with opened(cluster) as connections:
        fault(cluster)
        connections.stop()
    assert connections.lost == []


def test_a_killed_replicator_costs_nothing_and_comes_back_with_everything(cluster: Lab) -> None:
    with opened(cluster) as connections:
        cluster.kill("fw2", "replicator")
        wait_until(lambda: not answers_pfsync(cluster, "fw2"), "fw2 has noticed", SETTLE_S)
        has_everything(cluster, "fw2", "fw1")
        cluster.power_off("fw1")
        fw2_serves(cluster)
        connections.stop()
        natrules.boot(cluster, "fw1")
        back_on_fw1(cluster)
    assert connections.lost == []


def test_without_pfsync_every_translated_connection_is_lost() -> None:
    """What the tests above would prove if they proved nothing."""
    with Lab(Topology(name=unique_name("p"))) as lab:
        for node in ("fw1", "fw2"):
            natrules.load(lab, node)
        lab.wait_settled("fw1", deadline_s=SETTLE_S)
        with opened(lab, seconds=15) as connections:
            lab.power_off("fw1")
            fw2_serves(lab)
            connections.stop()
    lost = {line.partition(":")[0] for line in connections.lost}
    assert {"download through SNAT", "shell through SNAT", "upload through a port forward"} <= lost
    assert "the idle connection" in lost
