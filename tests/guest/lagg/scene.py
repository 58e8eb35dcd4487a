"""Networks for tests of aggregations: a firewall with two cables, and what they lead to."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import trio

from appliance.testing import LabNode, Netlab
from appliance.testing.harness import run_service
from appliance.testing.node import RunningNode
from appliance_lagg.plugin import Lagg

Body = Callable[[RunningNode], Awaitable[None]]
BOTH = ("eth0", "eth1")
FAR_MODES = {"lacp": "802.3ad lacp_rate fast", "loadbalance": "balance-xor", "roundrobin": "balance-rr"}
SOON_S = 20.0
"""The virtual machine is slow."""


def two_cables(netlab: Netlab) -> tuple[LabNode, LabNode]:
    """A firewall whose eth0 and eth1 lead to the devices of the same names of another machine."""
    fw, far = netlab.node("fw"), netlab.node("far")
    for device in ("eth0", "eth1"):
        netlab.connect(fw, far, device)
    return fw, far


def far_bond(far: LabNode, protocol: str) -> None:
    """The other machine aggregates its ends in the same way, made by `ip`."""
    lines = [
        "ip link show bond0 >/dev/null 2>&1 && ip link del bond0",
        "for each in eth0 eth1; do ip link set $each down; done",
        f"ip link add bond0 type bond mode {FAR_MODES.get(protocol, 'active-backup')} miimon 50",
        "for each in eth0 eth1; do ip link set $each master bond0; done",
        "ip link set bond0 up && ip addr add 10.0.0.9/24 dev bond0",
    ]
    far.run("sh", "-c", " ; ".join(lines))


def two_switches(netlab: Netlab, *machines: LabNode, devices: Sequence[str] = BOTH) -> tuple[LabNode, LabNode]:
    """Two switches with one cable between them; each machine has a cable to either, by these two devices."""
    first, second = netlab.switch("first"), netlab.switch("second")
    for switch in (first, second):
        switch.run("ip", "link", "set", "br0", "type", "bridge", "mcast_snooping", "0")
    for machine in machines:
        netlab.connect(machine, first, devices[0])
        netlab.connect(machine, second, devices[1])
    netlab.connect(first, second, "trunk")
    # At the other switch it has got the name of a port and is in the bridge already.
    first.run("ip", "link", "set", "trunk", "master", "br0")
    return first, second


def power(switch: LabNode, state: str) -> None:
    """Every port of a switch loses its link, or gets it back."""
    ports = [each["ifname"] for each in shown(switch, "link", "show", "master", "br0")]
    switch.run("sh", "-ec", "\n".join(f"ip link set {port} {state}" for port in ports))


def shown(node: LabNode, *arguments: str) -> Any:
    """What ``ip -d -j …`` says."""
    return json.loads(node.run("ip", "-d", "-j", *arguments) or "[]")


def bond(node: LabNode, name: str = "lagg0") -> dict[str, Any]:
    """Everything about a bond."""
    (found,) = shown(node, "link", "show", name)
    return found | {"options": found["linkinfo"]["info_data"]}


def members(node: LabNode, name: str = "lagg0") -> set[str]:
    """Names of the devices in it."""
    return {each["ifname"] for each in shown(node, "link", "show", "master", name)}


def with_service(node: LabNode, config: dict[str, Any], body: Body) -> None:
    """Run the lagg service in a machine, and the test with it."""

    async def main() -> None:
        with trio.fail_after(3 * SOON_S):
            async with run_service(Lagg, config={"lagg0": config}) as running:
                await body(running)

    node.inside(lambda: trio.run(main))


@contextmanager
def pinged(node: LabNode, address: str, interval_s: float = 0.02) -> Iterator[list[int]]:
    """Ping while the block lasts; afterwards the list holds how many were sent and how many were not answered."""
    counts: list[int] = []
    process = node.start("ping", "-n", "-i", str(interval_s), address)
    assert process.stdout is not None
    process.stdout.readline()  # its headline; it has begun
    try:
        yield counts
    finally:
        process.send_signal(signal.SIGINT)
        text = process.stdout.read().decode()
        found = re.search(r"(\d+) packets transmitted, (\d+) received", text)
        assert found is not None, text
        counts += [int(found[1]), int(found[1]) - int(found[2])]
