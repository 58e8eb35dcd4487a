"""Power off and on, as the neighbours see it, without any node software."""

from __future__ import annotations

import pytest

from appliance.errors import RefusedError, UnreachableError, UsageError
from appliance.lab import Lab, faults, netns
from appliance.lab.waiting import wait_until

pytestmark = pytest.mark.netns


def flags(lab: Lab, role: str, device: str) -> str:
    return netns.run(["ip", "-n", lab.topology.namespace(role), "link", "show", "dev", device])


def test_power_off_takes_everything_and_power_on_brings_it_back(lab: Lab) -> None:
    victim = lab.popen("fw1", "sleep", "60")
    lab.power_off("fw1")
    assert victim.wait(timeout=5) in (-9, 0)
    assert victim.stdout is not None
    victim.stdout.close()
    assert not lab.has_power("fw1")
    assert "NO-CARRIER" in flags(lab, "fw2", "sync0"), "the far end of the direct cable is still there, dead"
    assert "NO-CARRIER" not in flags(lab, "fw2", "lan0"), "the switch still has power"
    assert "fw1" not in netns.run(["ip", "-n", lab.topology.namespace("lansw"), "link"])
    with pytest.raises(RefusedError, match="no power"):
        lab.power_off("fw1")
    with pytest.raises(UnreachableError, match="no power"):
        lab.exec("fw1", "true")
    lab.power_on("fw1")
    assert "NO-CARRIER" not in flags(lab, "fw2", "sync0")
    wait_until(
        lambda: lab.exec("client", "ping", "-c", "1", "-W", "1", "198.51.100.1", check=False).returncode == 0,
        "the router works again",
    )
    with pytest.raises(RefusedError, match="power already"):
        lab.power_on("fw1")


def test_a_cable_that_was_pulled_is_still_pulled_after_a_power_failure(lab: Lab) -> None:
    lab.pull("fw1", "wan")
    lab.power_off("fw1")
    lab.power_on("fw1")
    assert "NO-CARRIER" in flags(lab, "fw1", "wan0")
    lab.plug("fw1", "wan")
    assert "NO-CARRIER" not in flags(lab, "fw1", "wan0")


def test_a_fault_of_a_machine_without_power_can_be_undone(lab: Lab) -> None:
    lab.cause(faults.pull(lab.topology, "fw2", "wan", "node"))
    lab.power_off("fw2")
    lab.plug("fw2", "wan")
    lab.power_on("fw2")
    assert "NO-CARRIER" not in flags(lab, "fw2", "wan0")


def test_only_nodes_have_a_power_switch(lab: Lab) -> None:
    with pytest.raises(UsageError, match="not a node"):
        lab.power_off("client")


def test_without_software_there_is_nothing_to_kill(lab: Lab) -> None:
    with pytest.raises(RefusedError, match="no software"):
        lab.kill("fw1")


def test_frozen_processes_are_stopped_and_go_on(lab: Lab) -> None:
    process = lab.popen("fw2", "sleep", "60")
    lab.freeze("fw2")
    wait_until(lambda: netns.process_state(process.pid) == "T", "it is stopped")
    lab.thaw("fw2")
    wait_until(lambda: netns.process_state(process.pid) == "S", "it goes on")
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
