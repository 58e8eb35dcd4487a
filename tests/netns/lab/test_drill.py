"""A drill measures what it rehearses, and the cluster is afterwards as it was, however it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from appliance.lab import Lab, Topology
from appliance.lab.client import Measured, merge, report_from
from appliance.lab.config import whole
from appliance.lab.lab import unique_name
from appliance.lab.pairing import pair_all
from appliance.lab.rehearsals import REHEARSALS

pytestmark = [pytest.mark.netns, pytest.mark.slow]

SETTLE_S = 40.0
DRILL_S = 80
LIVE = ("switchover", "maintenance", "disable", "unplug-lan", "unplug-wan")
"""What is rehearsed on a node of the lab when nobody stands beside it."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A whole cluster, paired, with fw1 as MASTER of everything."""
    topology = Topology(name=unique_name("r"))
    with Lab(topology, settings=whole(topology)) as built:
        built.wait_settled("fw1", deadline_s=SETTLE_S)
        pair_all(built)
        yield built


def start(lab: Lab, *options: str) -> subprocess.Popen[str]:
    program = "import sys; from appliance.cli import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-u", "-c", program, "drill", "--lab", "--name", lab.name, "--json", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def drilled(lab: Lab, *options: str) -> tuple[int, dict[str, Any]]:
    process = start(lab, *options)
    said, problems = process.communicate(timeout=DRILL_S)
    assert said, problems
    return process.returncode, json.loads(said)


def rehearsed(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Without what was only looked at."""
    return [each for each in report["rehearsals"] if not each["looked_at"]]


def is_as_it_was(lab: Lab) -> None:
    assert not lab.faults_in_force()
    assert all(lab.has_power(node) for node in lab.topology.node_names)
    lab.wait_settled("fw1", deadline_s=SETTLE_S)
    for seen in lab.view().values():
        assert (seen["enabled"], seen["maintenance"], seen["resigned"], seen["demotion"]) == (True, False, False, 0)


def test_what_a_client_lost_is_measured_and_reported(lab: Lab, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    status, report = drilled(lab, "--only", "switchover,unplug-wan,power-off", "--report", str(page))
    assert (status, report["passed"], report["restored"]) == (0, True, True)
    looked = {each["name"]: each["result"] for each in report["rehearsals"] if each["looked_at"]}
    assert set(looked.values()) == {"passed"}, report
    assert {"status-before", "lease-before", "DHCP-after", "replication-after"} < set(looked)
    planned, cable, power = rehearsed(report)
    assert (power["result"], power["why"]) == ("skipped", "not confirmed"), "nobody was there to be asked"
    for each in (planned, cable):
        assert [phase["title"] for phase in each["phases"]] == ["it happens", "it is put back"]
        for phase in each["phases"]:
            assert {probe["kind"] for probe in phase["probes"]} == {"udp", "ping", "download", "interactive"}
            assert all(probe["survived"] for probe in phase["probes"])
            assert phase["said"].startswith("DHCP: the client gets 192.168.1.")
    udp = cable["phases"][0]["probes"][0]
    assert udp["lost"] > 0
    assert max(udp["loss_percent"]) > 0
    assert "<svg" in page.read_text(), "the loss of the cable over time"
    is_as_it_was(lab)


@pytest.mark.parametrize("name", ["maintenance", "unplug-lan"])
def test_interrupted_in_the_middle_everything_is_put_back(lab: Lab, name: str) -> None:
    process = start(lab, "--only", name)
    try:
        lab.wait_for(
            lambda seen: process.poll() is not None or any(vip["state"] == "MASTER" for vip in vips(seen, "fw2")),
            "it has begun",
            SETTLE_S,
        )
    finally:
        process.send_signal(signal.SIGINT)
        said, problems = process.communicate(timeout=DRILL_S)
    assert process.returncode == 130, problems
    (only,) = rehearsed(json.loads(said))
    assert (only["result"], json.loads(said)["restored"]) == ("aborted", True)
    is_as_it_was(lab)


def vips(seen: Any, node: str) -> list[dict[str, Any]]:
    return list(seen.get(node, {}).get("vips", []))


def test_a_cluster_that_is_not_well_is_left_alone(lab: Lab) -> None:
    fault = lab.pull("fw2", "wan")
    process = start(lab)
    said, problems = process.communicate(timeout=DRILL_S)
    lab.undo(fault.name)
    assert (process.returncode, said) == (1, "")
    assert "faults in force" in problems


def live(lab: Lab, *options: str) -> subprocess.Popen[str]:
    """A drill on the cluster as its operator runs it: on fw1, without knowing that it is in a lab."""
    program = "import sys; from appliance.cli import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-u", "-c", program, "drill", "--socket", str(lab.socket("fw1")), "--json", "--yes", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_cluster_in_use_is_drilled_from_one_of_its_nodes(lab: Lab) -> None:
    is_as_it_was(lab)
    with lab.probe("ping", seconds=DRILL_S) as probe:
        probe.wait_flowing()
        process = live(lab, "--hold", "0.5")
        said, problems = process.communicate(timeout=DRILL_S)
        client = Measured(client="client", target="server", probes=(probe.stop(),))
    assert said, problems
    report = json.loads(said)
    assert (process.returncode, report["passed"], report["restored"]) == (0, True, True), (said, problems)
    assert [each["name"] for each in rehearsed(report)] == list(LIVE)
    assert "handed over to fw2" in rehearsed(report)[0]["phases"][0]["said"]
    assert {each["result"] for each in report["rehearsals"]} == {"passed"}, "nothing is skipped on a whole cluster"
    merged = merge(report_from(report), client)
    assert [len(phase.probes) for each in merged.outcomes for phase in each.phases] == [1] * 2 * len(LIVE)
    assert merged.passed, "the client's pings go on"
    is_as_it_was(lab)


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment_the_node_puts_everything_back(lab: Lab, seed: int) -> None:
    is_as_it_was(lab)
    chance = Random(seed)
    step, number = chance.choice(LIVE[1:]), chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
    process = live(lab, "--only", step, "--hold", "30")
    lab.wait_for(
        lambda seen: process.poll() is not None or any(vip["state"] == "MASTER" for vip in vips(seen, "fw2")),
        f"{step} has begun",
        SETTLE_S,
    )
    time.sleep(chance.uniform(0, 0.3))
    process.send_signal(number)
    process.communicate(timeout=DRILL_S)
    assert process.returncode in (-signal.SIGKILL, 130)
    is_as_it_was(lab)


def test_a_node_that_dies_in_its_drill_puts_everything_back_when_it_starts(lab: Lab) -> None:
    is_as_it_was(lab)
    process = live(lab, "--only", "maintenance", "--hold", "30")
    lab.wait_for(lambda seen: seen["fw1"]["maintenance"] is True, "fw1 is in maintenance", SETTLE_S)
    lab.kill("fw1", "main")
    _, problems = process.communicate(timeout=DRILL_S)
    assert process.returncode in (1, 3), problems
    is_as_it_was(lab)


def test_unknown_names_and_a_missing_place_are_usage_errors(lab: Lab) -> None:
    process = start(lab, "--only", "fire")
    _, problems = process.communicate(timeout=DRILL_S)
    assert process.returncode == 2
    assert f"There are: {', '.join(each.name for each in REHEARSALS)}." in problems
    process = live(lab, "--only", "unplug-moon")
    _, problems = process.communicate(timeout=DRILL_S)
    assert process.returncode == 2
    assert f"There are: {', '.join(LIVE)}, power-off." in problems
