"""Other forms than the native one, and more peers than one: BSD's pfsync, plain datagrams, three nodes."""

from __future__ import annotations

import time

import pytest

from appliance.lab import Lab, Topology
from appliance.lab.config import NodeSettings
from appliance.lab.lab import unique_name
from appliance.lab.waiting import is_all, wait_until
from tests.netns.pfsync import flows, natrules
from tests.netns.pfsync.connections import answers, idle_connection, opened, pfsync, replicated

pytestmark = pytest.mark.netns

COUNT = 200
SOON_S = 20.0
BACKED_OFF_S = 4.0
"""Three nodes have no direct cable: a death is noticed after 3 s, and TCP waits as long again before it repeats."""


def cluster(settings: dict[str, dict[str, object]], nodes: int = 2) -> Lab:
    """A cluster of firewalls with these ``[pfsync]`` tables."""
    return Lab(
        Topology(name=unique_name("p"), nodes=nodes),
        settings={node: NodeSettings(pfsync=table) for node, table in settings.items()},
    )


def settle(lab: Lab) -> None:
    for node in lab.topology.node_names:
        natrules.load(lab, node)
    lab.wait_settled("fw1")
    flows.sink(lab)


@pytest.mark.parametrize(
    ("one", "other"),
    [("1301", "1301"), ("1400", "1400"), ("1500", "1500"), ("openbsd", "openbsd"), ("1301", "1500")],
)
def test_nodes_that_speak_as_bsd_does_lose_no_connection(one: str, other: str) -> None:
    settings = {node: {"plain": True, "version": version} for node, version in (("fw1", one), ("fw2", other))}
    with cluster(settings) as lab:
        settle(lab)
        flows.run(lab, "udp", COUNT)
        with opened(lab) as connections:
            wait_until(lambda: replicated(lab, "fw2") >= COUNT + len(connections.running), "fw2 has them", SOON_S)
            assert (pfsync(lab, "fw2")["version"], pfsync(lab, "fw2")["secured"]) == (other, False)
            lab.power_off("fw1")
            lab.wait_for(lambda seen: is_all(seen.get("fw2"), "MASTER"), "fw2 has everything", SOON_S)
            connections.stop()
        assert connections.lost == []


def test_unicast_peers_replicate_as_well() -> None:
    with cluster({"fw1": {"peers": ["172.16.1.3"]}, "fw2": {"peers": ["172.16.1.2"]}}) as lab:
        settle(lab)
        flows.run(lab, "udp", COUNT)
        wait_until(lambda: replicated(lab, "fw2") == COUNT, "fw2 has them", SOON_S)
        sent = lab.exec("fw1", "timeout", "3", "tcpdump", "-c", "3", "-ni", "sync0", "ip proto 240", check=False).stdout
        assert "172.16.1.3" in sent
        assert "224.0.0.240" not in sent


def test_native_and_bsd_do_not_understand_each_other_and_say_so() -> None:
    with cluster({"fw1": {"plain": True}, "fw2": {"plain": True, "version": "1400"}}) as lab:
        settle(lab)
        flows.run(lab, "udp", COUNT)
        for node in ("fw1", "fw2"):
            wait_until(lambda node=node: pfsync(lab, node)["counters"]["badver"] > 0, f"{node} counts", SOON_S)  # type: ignore[misc]
        assert replicated(lab, "fw1") == COUNT
        assert replicated(lab, "fw2") == 0


def test_doctor_says_that_plain_datagrams_are_plain() -> None:
    with cluster({"fw1": {"plain": True}, "fw2": {"plain": True}}) as lab:
        settle(lab)
        with idle_connection(lab) as connection:
            wait_until(lambda: replicated(lab, "fw2") == 1, "fw2 has the connection", SOON_S)
            assert answers(connection)
        told = lab.exec("fw1", "appliance", "doctor", check=False).stdout
        assert "without authentication and encryption" in told


def test_every_one_of_three_nodes_has_every_state() -> None:
    with cluster({node: {} for node in ("fw1", "fw2", "fw3")}, nodes=3) as lab:
        settle(lab)
        flows.run(lab, "udp", COUNT)
        with opened(lab) as connections:
            for node in ("fw2", "fw3"):
                wait_until(
                    lambda node=node: replicated(lab, node) >= COUNT + len(connections.running),  # type: ignore[misc]
                    f"{node} has them",
                    SOON_S,
                )
            for dead, heir in (("fw1", "fw2"), ("fw2", "fw3")):
                lab.power_off(dead)
                lab.wait_for(lambda seen, heir=heir: is_all(seen.get(heir), "MASTER"), f"{heir} serves", SOON_S)  # type: ignore[misc]
                time.sleep(BACKED_OFF_S)
            connections.stop()
        assert connections.lost == []
        natrules.boot(lab, "fw1")
        wait_until(lambda: replicated(lab, "fw1") >= COUNT, "fw1 got everything from fw3", 2 * SOON_S)
