"""Real DHCP clients on the LAN of a lab, and what the nodes say of them."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from appliance.errors import ApplianceError
from appliance.lab import Lab
from appliance.lab.waiting import wait_until

CLIENT, DEVICE = "client", "eth0"
VIP, DMZ_VIP = "192.168.1.1", "192.168.2.1"
NODES = ("fw1", "fw2")
SERVES_S = 20.0
"""Far more than anything takes on a machine that is busy."""
_SCRIPT = """#!/bin/sh
case "$1" in bound | renew) echo "$1 $ip $router $dns $lease $serverid ${hostname:--} ${tftp:--}" ;; esac
[ -n "$CONFIGURE" ] && [ "$1" = bound ] && ip addr replace "$ip/$mask" dev "$interface"
exit 0
"""
_FIELDS = ("event", "address", "router", "dns", "lease", "server", "hostname", "tftp")


def script(lab: Lab) -> str:
    """What busybox runs when something happens to a lease: it prints it."""
    path = lab.directory / "udhcpc.sh"
    path.write_text(_SCRIPT)
    path.chmod(0o755)
    return str(path)


def udhcpc(
    lab: Lab, *, name: str = "", number: int = 0, tries: int = 10, machine: str = CLIENT
) -> dict[str, str] | None:
    """Get a lease with busybox; nothing when nobody answers.

    Args:
        lab: The cluster.
        name: Host name to tell.
        number: Of the client: its client identifier; 0 uses the device's MAC.
        tries: Of DISCOVER, one a second.
        machine: Where it runs: its device is the same everywhere.
    """
    identity = ["-C", "-x", f"0x3d:00c1{number:04x}"] if number else []
    hostname = ["-x", f"hostname:{name}"] if name else []
    options = ["-f", "-q", "-n", "-t", str(tries), "-T", "1", "-s", script(lab), "-O", "tftp"]
    done = lab.exec(
        machine, "busybox", "udhcpc", "-i", DEVICE, *options, *identity, *hostname, check=False, timeout_s=tries + 20
    )
    return _event(done.stdout.splitlines()[-1]) if done.stdout.strip() else None


def _event(line: str) -> dict[str, str]:
    return dict(zip(_FIELDS, line.split(), strict=False))


class Holder:
    """A client that stays: it has configured its address, and renews when it is told to."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process, self._log = process, log

    def events(self) -> list[dict[str, str]]:
        """All that happened to its lease."""
        return [_event(line) for line in self._log.read_text().splitlines() if line.startswith(("bound", "renew"))]

    def renew(self, deadline_s: float = 10.0) -> dict[str, str]:
        """Renew: a unicast to the server that granted the lease."""
        before = len(self.events())
        self._process.send_signal(signal.SIGUSR1)
        wait_until(lambda: len(self.events()) > before, "the lease is renewed", deadline_s)
        return self.events()[-1]


@contextmanager
def holder(lab: Lab, number: int) -> Iterator[Holder]:
    """A client with this client identifier, bound."""
    log = lab.directory / f"holder{number}.log"
    log.touch()
    run = f"exec busybox udhcpc -i {DEVICE} -f -t 5 -T 1 -s {script(lab)} -C -x 0x3d:00c1{number:04x} >{log} 2>&1"
    process = lab.popen(CLIENT, "env", "CONFIGURE=1", "sh", "-c", run)
    made = Holder(process, log)
    try:
        wait_until(lambda: bool(made.events()), "the client has a lease", SERVES_S)
        yield made
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        for event in made.events()[:1]:
            lab.exec(CLIENT, "ip", "addr", "del", f"{event['address']}/24", "dev", DEVICE, check=False)


def show(lab: Lab, node: str) -> dict[str, Any]:
    """``show dhcp``."""
    return dict(lab.request(node, "show", "dhcp"))


def pool(lab: Lab, node: str, interface: str = "lan") -> dict[str, Any]:
    """A pool, as a node sees it; states are empty while its service does not answer."""
    try:
        pools = show(lab, node)["pools"]
    except ApplianceError:
        pools = []
    return next((dict(each) for each in pools if each["interface"] == interface), {"my_state": "", "replication": ""})


def leases(lab: Lab, node: str) -> dict[str, dict[str, Any]]:
    """All leases that a node knows, by address."""
    return {row["address"]: row for row in show(lab, node)["leases"]}


def wait_state(lab: Lab, node: str, state: str, deadline_s: float = SERVES_S, *, interface: str = "lan") -> float:
    """Wait until a node serves or stands by; returns the seconds that it took."""
    begun = time.monotonic()
    wait_until(lambda: pool(lab, node, interface)["my_state"] == state, f"{node} is {state}", deadline_s)
    return time.monotonic() - begun


def wait_synchronized(lab: Lab, deadline_s: float = SERVES_S) -> None:
    """Wait until both nodes have everything of each other, fw1 serving."""
    wait_state(lab, "fw1", "serving", deadline_s)
    wait_state(lab, "fw2", "standby", deadline_s)
    wait_until(
        lambda: all(pool(lab, node)["replication"] == "synchronized" for node in NODES),
        "both nodes have all leases",
        deadline_s,
    )
    # Without the demotion that a node has until then, a switchover would be refused.
    wait_until(lambda: not any(lab.request(node, "show", "carp")["demotion"] for node in NODES), "no node is demoted")


def switchover(lab: Lab, source: str, target: str) -> None:
    """Hand everything over, once the other node is known to be well."""
    wait_until(lambda: _switched(lab, source), f"{source} hands over", SERVES_S)
    wait_state(lab, target, "serving")


def _switched(lab: Lab, source: str) -> bool:
    try:
        lab.request(source, "ha", "switchover")
    except ApplianceError:
        return False
    return True
