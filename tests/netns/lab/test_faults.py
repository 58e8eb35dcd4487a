"""Each fault is visible in the kernel, and its end too."""

from __future__ import annotations

import json
import select
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import RefusedError, UsageError
from appliance.lab import Lab, Software, Topology, faults, netns
from appliance.lab.lab import unique_name
from appliance.lab.waiting import wait_until

pytestmark = pytest.mark.netns


def link(lab: Lab, role: str, device: str) -> dict[str, Any]:
    shown = netns.run(["ip", "-n", lab.topology.namespace(role), "-json", "link", "show", "dev", device])
    found: dict[str, Any] = json.loads(shown)[0]
    return found


def carrier(lab: Lab, role: str, device: str) -> bool:
    return "LOWER_UP" in link(lab, role, device)["flags"]


def admin_up(lab: Lab, role: str, device: str) -> bool:
    return "UP" in link(lab, role, device)["flags"]


def pings(lab: Lab, source: str, target: str) -> bool:
    return lab.exec(source, "ping", "-c", "1", "-W", "0.4", target, check=False).returncode == 0


def port_flag(lab: Lab, switch: str, port: str, flag: str) -> object:
    namespace = lab.topology.namespace(switch)
    listed = json.loads(netns.run(["bridge", "-n", namespace, "-json", "-d", "link", "show", "dev", port]))
    return listed[0][flag]


def test_a_pulled_cable_takes_the_carrier_and_plugging_gives_it_back(lab: Lab) -> None:
    lab.pull("fw1", "wan")
    assert admin_up(lab, "fw1", "wan0")
    assert not carrier(lab, "fw1", "wan0")
    assert carrier(lab, "fw1", "lan0")
    assert not pings(lab, "client", "198.51.100.1")
    lab.plug("fw1", "wan")
    assert carrier(lab, "fw1", "wan0")
    wait_until(lambda: pings(lab, "client", "198.51.100.1"), "the way to the server is back")


def test_at_the_nodes_end_the_interface_is_down(lab: Lab) -> None:
    lab.pull("fw1", "lan", "node")
    assert not admin_up(lab, "fw1", "lan0")
    lab.plug("fw1", "lan")
    assert admin_up(lab, "fw1", "lan0")


def test_a_blocked_port_keeps_the_carrier_and_passes_nothing(lab: Lab) -> None:
    assert pings(lab, "client", "192.168.1.2")
    lab.pull("fw1", "lan", "blocked")
    assert carrier(lab, "fw1", "lan0")
    assert not pings(lab, "client", "192.168.1.2")
    lab.plug("fw1", "lan")
    assert pings(lab, "client", "192.168.1.2")


def test_the_direct_sync_cable_is_lost_at_both_ends(lab: Lab) -> None:
    with lab.during(faults.pull(lab.topology, "fw1", "sync")):
        for node in ("fw1", "fw2"):
            assert admin_up(lab, node, "sync0")
            assert not carrier(lab, node, "sync0")
    assert carrier(lab, "fw1", "sync0")
    assert carrier(lab, "fw2", "sync0")


def test_a_cut_switch_leaves_everybody_on_it_without_carrier(lab: Lab) -> None:
    with lab.during(faults.cut_switch(lab.topology, "lansw")):
        assert not [m for m, d in (("fw1", "lan0"), ("fw2", "lan0"), ("client", "eth0")) if carrier(lab, m, d)]
        assert carrier(lab, "fw1", "wan0")
    wait_until(lambda: pings(lab, "client", "198.51.100.1"), "the switch works again")


@pytest.mark.parametrize("direction", ["from", "to", "both"])
def test_loss_in_one_direction_leaves_the_other_and_the_carrier(lab: Lab, direction: faults.Direction) -> None:
    # Both know each other's MAC address: it is the echoes that get lost, not the questions before them.
    assert pings(lab, "client", "192.168.1.3")
    assert pings(lab, "fw2", "192.168.1.100")
    with lab.during(faults.lose(lab.topology, "fw2", "lan", direction)):
        assert carrier(lab, "fw2", "lan0")
        before = echoes_heard(lab, "fw2"), echoes_heard(lab, "client")
        assert not pings(lab, "client", "192.168.1.3")
        assert not pings(lab, "fw2", "192.168.1.100")
        after = echoes_heard(lab, "fw2"), echoes_heard(lab, "client")
        assert after[0] - before[0] == (1 if direction == "from" else 0), "only what fw2 says is lost"
        assert after[1] - before[1] == (1 if direction == "to" else 0), "only what fw2 should hear is lost"
    assert pings(lab, "client", "192.168.1.3")


def echoes_heard(lab: Lab, role: str) -> int:
    def read() -> int:
        head, values = [
            line.split() for line in Path("/proc/thread-self/net/snmp").read_text().splitlines() if line[:5] == "Icmp:"
        ]
        return int(values[head.index("InEchos")])

    return netns.inside(lab.topology.namespace(role), read)


def received(lab: Lab, role: str, device: str) -> int:
    counters = netns.run(["ip", "-n", lab.topology.namespace(role), "-s", "-json", "link", "show", "dev", device])
    return int(json.loads(counters)[0]["stats64"]["rx"]["packets"])


def test_random_loss_loses_some(lab: Lab) -> None:
    loss = faults.lose(lab.topology, "fw1", "wan", percent=30)
    with lab.during(loss), lab.probe("udp", seconds=0.6) as probe:
        result = probe.result()
    assert 0.1 < result.lost / result.sent < 0.5
    assert result.survived


def test_loss_can_be_limited_to_one_protocol(lab: Lab) -> None:
    with lab.during(faults.lose(lab.topology, "fw1", "wan", match="ip protocol icmp")):
        assert not pings(lab, "server", "198.51.100.201")
        with lab.probe("udp", seconds=0.2) as probe:
            assert probe.result().lost == 0


def test_a_loop_brings_a_nodes_broadcasts_back_to_it(lab: Lab) -> None:
    def echoed(patience_s: float) -> bool:
        capture = lab.popen(
            *(
                "fw2",
                "tcpdump",
                "-Q",
                "in",
                "-n",
                "-l",
                "--immediate-mode",
                "-i",
                "lan0",
                "arp",
                "host",
                "192.168.1.99",
            ),
            stderr=subprocess.DEVNULL,
        )
        assert capture.stdout is not None
        try:
            wait_until(lambda: promiscuous(lab, "fw2", "lan0"), "the capture runs")
            # Three: the device is promiscuous for other reasons too, so the capture may not run yet.
            lab.exec("fw2", "arping", "-c", "3", "-w", "3", "-I", "lan0", "192.168.1.99", check=False)
            return bool(select.select([capture.stdout], [], [], patience_s)[0])
        finally:
            capture.kill()
            capture.wait()
            capture.stdout.close()

    assert not echoed(patience_s=0.2)
    with lab.during(faults.loop(lab.topology, "fw2", "lan")):
        assert port_flag(lab, "lansw", "fw2", "hairpin") is True
        assert echoed(patience_s=10)
    assert port_flag(lab, "lansw", "fw2", "hairpin") is False


def promiscuous(lab: Lab, role: str, device: str) -> bool:
    shown = netns.run(["ip", "-n", lab.topology.namespace(role), "-d", "link", "show", "dev", device])
    return "promiscuity 0 " not in shown


def test_a_flooding_switch_has_forgotten_every_machine_and_learns_none(lab: Lab) -> None:
    def learned() -> list[str]:
        listed = netns.run(["bridge", "-n", lab.topology.namespace("lansw"), "fdb", "show", "br", "sw0"])
        return [line for line in listed.splitlines() if "permanent" not in line]

    assert pings(lab, "client", "192.168.1.2")
    assert learned()
    with lab.during(faults.flood(lab.topology, "lansw")):
        before = received(lab, "fw2", "lan0")
        assert pings(lab, "client", "192.168.1.2"), "the network still works"
        assert learned() == []
        assert received(lab, "fw2", "lan0") > before, "others see what is not for them"
    assert pings(lab, "client", "192.168.1.2")
    assert learned()


def test_a_duplicate_host_answers_for_the_address(lab: Lab) -> None:
    with lab.during(faults.duplicate(lab.topology, "lan", "192.168.1.1/24")):
        asked = lab.exec(
            "client", "arping", "-b", "-c", "2", "-w", "2", "-I", "eth0", "192.168.1.1", check=False
        ).stdout
        assert "02:FC:00:01:05:01" in asked
        assert "02:FC:00:01:01:01" in asked
    assert not netns.exists(lab.topology.namespace("rogue"))
    wait_until(lambda: "rogue" not in netns.run(["ip", "-n", lab.topology.namespace("lansw"), "link"]), "it is gone")


def test_a_fault_is_remembered_for_other_processes_and_cannot_be_caused_twice(lab: Lab) -> None:
    lab.pull("fw1", "wan")
    other = Lab.open(lab.name)
    assert [fault.name for fault in other.faults_in_force()] == ["pull fw1 wan"]
    with pytest.raises(RefusedError, match="in force already"):
        other.pull("fw1", "wan")
    other.plug("fw1", "wan0")
    assert lab.faults_in_force() == ()
    with pytest.raises(UsageError, match="no fault"):
        lab.plug("fw1", "wan")


def test_a_cut_trunk_separates_the_first_node() -> None:
    with Lab(Topology(name=unique_name("t"), second_switch=True), software=Software.ROUTER) as two:
        assert pings(two, "client", "192.168.1.2")
        with two.during(faults.cut_trunk(two.topology, "lan")):
            assert not pings(two, "client", "192.168.1.2")
            assert pings(two, "client", "192.168.1.3")
        wait_until(lambda: pings(two, "client", "192.168.1.2"), "the trunk is back")


def test_a_fault_takes_effect_within_milliseconds(lab: Lab) -> None:
    before = time.monotonic()
    lab.pull("fw1", "wan")
    assert time.monotonic() - before < 0.5
