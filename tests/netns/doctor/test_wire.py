"""The doctor on the example cluster: silent while it is healthy; a fault is named, and forgotten when mended."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from appliance.lab import Lab, NodeSettings, Topology, faults
from appliance.lab.faults import Fault
from appliance.lab.lab import unique_name
from appliance.lab.pairing import pair_all
from tests.netns.doctor.examining import SETTLE_S, doctor, sick, wait_found, wait_silent

pytestmark = [pytest.mark.netns, pytest.mark.slow]

VIRTUAL = "00:00:5e:00:01:01"
GROUP = "01:00:5e:00:00:12"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A whole firewall cluster, paired and in sync."""
    everything = NodeSettings(pfsync={}, firewall=True, xmlrpc_sync=True)
    with Lab(Topology(name=unique_name("d")), settings=everything) as built:
        built.wait_settled("fw1", deadline_s=SETTLE_S)
        pair_all(built)
        yield built


@pytest.fixture(autouse=True)
def mended(lab: Lab) -> Iterator[None]:
    """Every test begins and ends with fw1 as MASTER and without faults."""
    yield
    lab.undo_all()
    lab.wait_settled("fw1", deadline_s=SETTLE_S)


def test_on_a_healthy_cluster_the_doctor_is_silent_about_both_nodes(lab: Lab) -> None:
    wait_silent(lab)
    for node, other in (("fw1", "fw2"), ("fw2", "fw1")):
        status, report = doctor(lab, node, "--peers")
        (peer,) = report["peers"]
        assert (status, report["node"], peer["node"], peer["error"]) == (0, node, other, None)
        assert len(report["findings"]) == report["ok"] > 35
        assert {each["check"] for each in peer["findings"]} == {each["check"] for each in report["findings"]}


CASES: dict[str, tuple[Callable[[Topology], Fault], str]] = {
    "IGMP snooping": (
        lambda lab: faults.lose(lab, "fw1", "lan", "from", match=f"ether daddr {GROUP}"),
        "multicast does not arrive from fw1 (192.168.1.2) on lan",
    ),
    "no forged transmits": (
        lambda lab: faults.lose(lab, "fw1", "lan", "from", match=f"ether saddr {VIRTUAL}"),
        "adverts do not arrive from fw1 (192.168.1.2) on lan",
    ),
    "no promiscuous mode": (
        lambda lab: faults.lose(lab, "fw1", "lan", "to", match=f"ether daddr {VIRTUAL}"),
        "frames to the virtual MAC do not reach fw1 (192.168.1.2) on lan",
    ),
    "other VLAN": (
        lambda lab: faults.pull(lab, "fw1", "lan", "blocked"),
        "not even ARP reaches fw1 (192.168.1.2) on lan",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_switch_loses_between_the_nodes_is_named_and_gone_when_it_is_mended(lab: Lab, case: str) -> None:
    cause, words = CASES[case]
    with lab.during(cause(lab.topology)):
        wait_found(lab, "fw2", {"carp-reach": words})
        if case in ("no forged transmits", "other VLAN"):
            wait_found(lab, "fw1", {"carp-master": "two nodes are MASTER of lan@1 with fw2"})
            status, report = doctor(lab, "fw1", "--peers")
            assert status == 1
            assert "lan@1 with fw1" in sick(report["peers"][0])["carp-master"]
    wait_silent(lab, "carp-reach", "carp-master", "carp-roles")


def test_own_heartbeats_that_come_back_are_named(lab: Lab) -> None:
    with lab.during(faults.loop(lab.topology, "fw1", "lan")):
        alarm = wait_found(lab, "fw1", {"alarms": "alarms are active"})["alarms"]
        assert alarm["why"] == "our own adverts of VHID 1 come back on lan"
        assert "spanning tree" in alarm["fix"]


def test_a_demoted_node_and_an_absent_one_are_named_from_the_other(lab: Lab) -> None:
    with lab.during(faults.pull(lab.topology, "fw2", "wan")):
        wait_found(lab, "fw2", {"carp-demotion": "this node is demoted: link:wan"})
        assert sick(doctor(lab, "fw2")[1])["interfaces-links"] == "no link: wan (wan0)"
    lab.stop("fw2")
    try:
        wait_found(lab, "fw1", {"carp-reach": "no heartbeat comes from fw2 (192.168.1.3) on lan"})
        status, report = doctor(lab, "fw1", "--peers")
        assert (status, report["peers"][0]["findings"]) == (1, [])
        assert "172.16.1.3" in report["peers"][0]["error"]
        assert report["peers"][0]["remedy"]
    finally:
        lab.start("fw2")


def test_all_that_was_mended_is_forgotten(lab: Lab) -> None:
    wait_silent(lab)
