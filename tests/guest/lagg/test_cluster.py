"""The chapter on layer-2 redundancy, whole: two nodes, two switches per network, and one of everything fails."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.cli import main
from appliance.control import wire
from appliance.control.client import request
from appliance.errors import ApplianceError
from appliance.host.discovery import discover
from appliance.host.plugins import Plugins
from appliance.testing import LabNode, Netlab
from tests.guest.lagg.scene import pinged, power, shown, two_switches

pytestmark = pytest.mark.netns

SETTLED_S = 300.0
"""Two nodes start at once on a slow virtual machine."""
PING_S = 0.05
TOML = """
[node]
name = "fw{number}"
role = "{role}"

[lagg.lagg0]
members = ["eth0", "eth1"]
protocol = "failover"

[lagg.lagg1]
members = ["eth2", "eth3"]
protocol = "failover"

[interfaces.lan]
device = "lagg0"
addresses = ["192.168.1.{host}/24"]
mtu = 1600

[interfaces.dmz]
vlan = {{ parent = "lagg0", id = 20 }}
addresses = ["192.168.2.{host}/24"]

[interfaces.wan]
device = "lagg1"
addresses = ["198.51.100.20{number}/24"]

[carp]
password = "secret"

[[carp.vip]]
name = "lan"
interface = "lan"
vhid = 1
addresses = ["192.168.1.1/24"]
advskew = {skew}

[[carp.vip]]
name = "wan"
interface = "wan"
vhid = 200
addresses = ["198.51.100.200/24"]
advskew = {skew}
"""


def forked(argv: list[str], log: Path) -> int:
    """A process that runs the command line as it is loaded here: loading it anew takes half a minute here."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        status = main(argv)
    finally:
        os._exit(status)


@pytest.fixture
def pair(netlab: Netlab, tmp_path: Path) -> Iterator[Callable[[list[LabNode]], list[Firewall]]]:
    """Starts an appliance in each of these machines; they end with the test."""
    started: list[Firewall] = []
    Plugins(discover())  # their modules are loaded once, not by each node

    def start(machines: list[LabNode]) -> list[Firewall]:
        started.extend(Firewall(machine, number, tmp_path) for number, machine in enumerate(machines, 1))
        return started

    yield start
    for firewall in started:
        firewall.stop()


class Firewall:
    """One node: a machine and the appliance in it."""

    def __init__(self, machine: LabNode, number: int, folder: Path) -> None:
        self.machine, self.socket, self.log = machine, folder / f"{number}.sock", folder / f"{number}.log"
        config, state = folder / f"{number}.toml", folder / f"{number}.state"
        state.mkdir()
        role = "primary" if number == 1 else "secondary"
        config.write_text(TOML.format(number=number, role=role, host=number + 1, skew=100 * (number - 1)))
        argv = ["run", "-c", str(config), "--state-dir", str(state), "--socket", str(self.socket)]
        self._pid = machine.inside(lambda: forked(argv, self.log))

    def stop(self) -> None:
        """In an orderly way."""
        os.kill(self._pid, signal.SIGTERM)
        os.waitpid(self._pid, 0)

    def ask(self, *argv: str) -> Any:
        """The answer of a command, or nothing while there is none."""
        try:
            for reply in request(self.socket, argv, json=True):
                if isinstance(reply, wire.Data):
                    return reply.data
        except ApplianceError:
            pass
        return None

    @property
    def states(self) -> list[str]:
        """Of the virtual hosts on lan and wan."""
        carp = self.ask("show", "carp")
        return [vip["state"] for vip in carp["vips"]] if carp else []

    @property
    def reasons(self) -> list[str]:
        """For a demotion."""
        carp = self.ask("show", "carp")
        return [each["name"] for each in carp["reasons"]] if carp else []


def wait_until(condition: Callable[[], object], what: str, *nodes: Firewall) -> None:
    """Poll, and say what the nodes said when it does not come."""
    until = time.monotonic() + SETTLED_S
    while time.monotonic() < until:
        if condition():
            return
        time.sleep(0.1)
    told = [f"{node.states} {node.reasons}\n{node.log.read_text()[-3000:]}" for node in nodes]
    raise AssertionError(f"{what}: not within {SETTLED_S:g} s\n" + "\n".join(told))


@pytest.mark.timeout(700)
def test_a_switch_dies_and_nothing_happens_then_all_members_and_the_peer_takes_over(
    netlab: Netlab, pair: Callable[[list[LabNode]], list[Firewall]]
) -> None:
    machines = [netlab.node("fw1"), netlab.node("fw2")]
    lan = two_switches(netlab, *machines)
    two_switches(netlab, *machines, devices=("eth2", "eth3"))
    client = netlab.node("client")
    netlab.connect(client, lan[1], "eth0", ["192.168.1.100/24"])
    fw1, fw2 = pair(machines)
    wait_until(lambda: fw1.states == ["MASTER"] * 2 and fw2.states == ["BACKUP"] * 2, "roles", fw1, fw2)
    for machine in machines:
        found = {each["ifname"]: each["mtu"] for each in shown(machine, "link", "show")}
        assert [found[name] for name in ("lagg0", "eth0", "eth1", "lagg0.20", "lagg1")] == [1600] * 4 + [1500]
    client.run("ping", "-c3", "-i0.2", "-W5", "192.168.1.1")
    before = (fw1.ask("show", "carp")["vips"], fw2.ask("show", "carp")["vips"])

    with pinged(client, "192.168.1.1", PING_S) as counts:
        power(lan[0], "down")
        wait_until(lambda: fw1.ask("show", "lagg", "lagg0")["laggs"][0]["active"] == "eth1", "failover", fw1)
        time.sleep(4)  # longer than a BACKUP waits for heartbeats
    sent, lost = counts
    assert lost * PING_S <= 1.0, f"{lost} of {sent} pings were lost when a switch died"
    after = (fw1.ask("show", "carp")["vips"], fw2.ask("show", "carp")["vips"])
    for was, now in zip(before, after, strict=True):
        assert [(vip["state"], vip["since"]) for vip in was] == [(vip["state"], vip["since"]) for vip in now]
    assert (fw1.reasons, fw2.reasons) == ([], [])

    ports = [each["ifname"] for each in shown(lan[1], "link", "show", "master", "br0")]
    lan[1].run("ip", "link", "set", ports[0], "down")  # the other cable of fw1
    wait_until(lambda: fw2.states == ["MASTER"] * 2, "takeover", fw1, fw2)
    assert "link:lan" in fw1.reasons
    wait_until(lambda: fw1.states == ["INIT", "BACKUP"], "the other one gives way on the WAN, too", fw1, fw2)
    client.run("ping", "-c3", "-i0.2", "-W5", "192.168.1.1")
