"""The lab with the real node software: each node is `appliance run`, and the lab waits for what it says."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from appliance.errors import UsageError
from appliance.lab import Lab, NodeSettings, Topology, netns
from appliance.lab.lab import unique_name
from appliance.lab.waiting import LabTimeoutError, is_all, states, wait_until

pytestmark = [pytest.mark.netns, pytest.mark.slow]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Lab]:
    with Lab(Topology(name=unique_name("t"))) as lab:
        lab.wait_settled("fw1", deadline_s=40)
        yield lab


def test_the_preferred_node_is_master_and_the_client_reaches_the_server(cluster: Lab) -> None:
    seen = cluster.wait_settled("fw1")
    assert states(seen["fw1"]) == {"lan": "MASTER", "wan": "MASTER"}
    for family in (4, 6):
        with cluster.probe("udp", seconds=0.5, family=family) as probe:
            assert probe.result().survived


def test_the_command_line_inside_a_node_talks_to_that_node(cluster: Lab) -> None:
    assert '"node": "fw2"' in cluster.exec("fw2", "appliance", "show", "carp", "--json").stdout
    assert cluster.request("fw1", "show", "carp")["node"] == "fw1"


def test_a_killed_node_is_started_again_by_its_init(cluster: Lab) -> None:
    before = cluster.init_facts("fw2")
    assert cluster.kill("fw2") == (before["pid"],)
    wait_until(lambda: cluster.init_facts("fw2").get("pid") not in (before["pid"], None), "it is started again")
    cluster.wait_settled("fw1")
    with pytest.raises(UsageError, match="no process of fw2") as none:
        cluster.kill("fw2", "nonsense")
    assert "carp/heartbeat" in none.value.hint


@pytest.mark.parametrize("what", ["heartbeat", "guard"])
def test_one_child_can_be_killed_alone_and_the_node_recovers(cluster: Lab, what: str) -> None:
    main = cluster.init_facts("fw2")["pid"]
    (killed,) = cluster.kill("fw2", what)
    wait_until(lambda: not netns.is_alive(killed), "it is gone")
    cluster.wait_settled("fw1", deadline_s=40)
    assert cluster.init_facts("fw2")["pid"] == main


def test_an_orderly_stop_hands_over_and_a_start_takes_back(cluster: Lab) -> None:
    cluster.stop("fw1")
    cluster.wait_for(lambda seen: is_all(seen.get("fw2"), "MASTER"), "fw2 took over")
    cluster.start("fw1")
    cluster.wait_settled("fw1")


def test_a_power_failure_moves_the_roles_and_power_moves_them_back(cluster: Lab) -> None:
    with cluster.probe("udp", seconds=60) as probe:
        probe.wait_flowing()
        cluster.power_off("fw1")
        seen = cluster.wait_settled("fw2")
        cluster.power_on("fw1")
        cluster.wait_settled("fw1")
        result = probe.stop()
    assert result.survived
    assert result.lost > 0
    assert "bow-out" not in str(seen), "nothing on a machine without power says goodbye"


def test_init_and_its_node_outlive_the_builder(cluster: Lab) -> None:
    facts = cluster.init_facts("fw1")
    assert isinstance(facts["init"], int)
    assert os.getsid(facts["init"]) == facts["init"], "a session of its own"


def test_waiting_in_vain_shows_what_was_seen_and_the_logs(cluster: Lab) -> None:
    with pytest.raises(LabTimeoutError, match="the impossible") as late:
        cluster.wait_for(lambda seen: False, "the impossible", deadline_s=0.1)
    assert "last seen: fw1: lan MASTER, wan MASTER" in late.value.message
    assert str(cluster.log("fw2")) in late.value.hint


def test_a_refused_configuration_ends_the_waiting_at_once() -> None:
    settings = {"fw1": NodeSettings(text="this is not TOML")}
    lab = Lab(Topology(name=unique_name("t")), settings=settings)
    with lab, pytest.raises(LabTimeoutError, match="fw1 does not start"):
        lab.wait_settled("fw1", deadline_s=40)


def test_down_ends_every_process_of_every_node() -> None:
    with Lab(Topology(name=unique_name("t"))) as lab:
        wait_until(lambda: all(lab.init_facts(node).get("pid") for node in lab.topology.node_names), "they run")
        running = [pid for namespace in lab.namespaces() for pid in netns.pids(namespace)]
        assert len(running) >= 4
        netns.send_signal(running[:1], signal.SIGSTOP)
    assert not [pid for pid in running if netns.is_alive(pid)]
