"""Pairs of DHCP servers in the nodes of a lab: this project, ISC dhcpd with failover, Kea with its HA hook.

All of them serve the same LAN, which here is a /19, so that thousands of clients can hold an address at once. The
servers of others are plain child processes of a node: files of their own, nothing of the machine's.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Any

from appliance.lab import Lab, Topology, netns
from appliance.lab.lab import unique_name
from appliance.lab.plan import Software
from appliance.lab.waiting import wait_until
from tests.netns.dhcp import plainkea
from tests.netns.dhcp.largelan import FIRST, LAN4, LAST, LEASE_S, MASK, NODES, PREFIX, SUBNET, VIP4, large_lan, pair

SYNC4 = {"fw1": "172.16.1.2", "fw2": "172.16.1.3"}
READY_S = 60.0
HOOKS = Path("/usr/lib/x86_64-linux-gnu/kea/hooks")
REPLY_MAX_S = 5.0


class DhcpSystem(ABC):
    """One way to have two DHCP servers."""

    name: str
    peer = True
    """Whether it is one that we compare ourselves with."""
    watch_s: dict[str, float]
    """By scenario: how long the clients are watched, longer than the outage takes."""
    return_s = 8.0
    """The same for the return of the first server."""

    @abstractmethod
    def make_lab(self) -> Lab:
        """Where it runs."""

    @abstractmethod
    def start(self, lab: Lab, node: str) -> None:
        """Starts it on a node that has power."""

    @abstractmethod
    def wait_ready(self, lab: Lab) -> None:
        """Until both are what they are meant to be."""

    @abstractmethod
    def kill(self, lab: Lab) -> None:
        """``kill -9`` of the server that serves."""

    @abstractmethod
    def plan(self, lab: Lab) -> None:
        """A planned end of its service."""

    @abstractmethod
    def restore(self, lab: Lab, scenario: str) -> None:
        """The first server comes back after `kill` or `plan`."""


class Ours(DhcpSystem):
    """This project."""

    name = "appliance"
    peer = False
    watch_s = {"kill": 8.0, "death": 8.0, "planned": 6.0, "sync cut": 8.0}
    return_s = 10.0

    def make_lab(self) -> Lab:
        return large_lan()

    def start(self, lab: Lab, node: str) -> None:
        """Init has started it."""

    def wait_ready(self, lab: Lab) -> None:
        pair(lab)

    def kill(self, lab: Lab) -> None:
        signal_named(lab, "fw1", "kea-dhcp4", signal.SIGKILL)

    def plan(self, lab: Lab) -> None:
        lab.exec("fw1", "appliance", "ha", "switchover")

    def restore(self, lab: Lab, scenario: str) -> None:
        if scenario == "planned":
            lab.exec("fw2", "appliance", "ha", "switchover")


class Isc(DhcpSystem):
    """ISC dhcpd 4.4 with failover, channel on the sync cable; pfSense's values."""

    name = "ISC dhcpd 4.4.3 failover"
    watch_s = {"kill": 8.0, "death": 15.0, "planned": 8.0, "sync cut": 15.0}
    return_s = 10.0

    def make_lab(self) -> Lab:
        return Lab(Topology(name=unique_name("h"), ipv6=False), software=Software.BARE)

    def start(self, lab: Lab, node: str) -> None:
        widen(lab, node)
        folder = lab.node_dir(node)
        (folder / "dhcpd.conf").write_text(isc_text(node))
        (folder / "dhcpd.leases").touch()
        argv = ["dhcpd", "-4", "-d", "-f", "--no-pid", "-cf", folder / "dhcpd.conf", "-lf", folder / "dhcpd.leases"]
        lab.spawn(node, [*map(str, argv), "lan0"], log=folder / "dhcpd.log")

    def wait_ready(self, lab: Lab) -> None:
        wait_until(lambda: all(isc_state(lab, node) == "normal" for node in NODES), "both are normal", READY_S)

    def kill(self, lab: Lab) -> None:
        signal_named(lab, "fw1", "dhcpd", signal.SIGKILL)

    def plan(self, lab: Lab) -> None:
        signal_named(lab, "fw1", "dhcpd", signal.SIGTERM)

    def restore(self, lab: Lab, scenario: str) -> None:
        self.start(lab, "fw1")


class Kea(DhcpSystem):
    """Kea 2.2, hot-standby, every timer as Kea has it when nothing is said."""

    name = "Kea 2.2 HA hot-standby, stock timers"
    watch_s = {"kill": 66.0, "death": 78.0, "planned": 10.0, "sync cut": 72.0}
    return_s = 15.0
    """The one that returns is noticed at the next heartbeat, ten seconds later at most."""

    def make_lab(self) -> Lab:
        return Lab(Topology(name=unique_name("h"), ipv6=False), software=Software.BARE)

    def start(self, lab: Lab, node: str) -> None:
        widen(lab, node)
        argv = plainkea.command(lab.node_dir(node) / "kea", kea_config(lab, node))
        lab.spawn(node, argv, log=lab.node_dir(node) / "kea.log")

    def wait_ready(self, lab: Lab) -> None:
        wait_until(lambda: all(kea_state(lab, node) == "hot-standby" for node in NODES), "hot-standby", READY_S)

    def kill(self, lab: Lab) -> None:
        signal_named(lab, "fw1", "kea-dhcp4", signal.SIGKILL)

    def plan(self, lab: Lab) -> None:
        """As Kea's manual has it: the partner is told first, then the server is stopped."""
        kea_command(lab, "fw2", "ha-maintenance-start")
        signal_named(lab, "fw1", "kea-dhcp4", signal.SIGTERM)

    def restore(self, lab: Lab, scenario: str) -> None:
        self.start(lab, "fw1")


SYSTEMS: dict[str, type[DhcpSystem]] = {"ours": Ours, "isc": Isc, "kea": Kea}


def require_servers() -> None:
    """Fails early when a server or a tool is not installed."""
    missing = [tool for tool in ("dhcpd", "kea-dhcp4", "perfdhcp") if shutil.which(tool) is None]
    if missing:
        raise SystemExit(f"missing: {', '.join(missing)}; 'make setup' installs what the benchmarks need")


def widen(lab: Lab, node: str) -> None:
    """The LAN of a bare node becomes a /19."""
    lab.exec(node, "ip", "addr", "del", f"{LAN4[node]}/24", "dev", "lan0", check=False)
    lab.exec(node, "ip", "addr", "replace", f"{LAN4[node]}/{PREFIX}", "dev", "lan0")


def isc_text(node: str) -> str:
    """``dhcpd.conf``; without its ping check, which costs a second per OFFER."""
    other = "fw2" if node == "fw1" else "fw1"
    own_port, peer_port = (519, 520) if node == "fw1" else (520, 519)
    role = "primary; mclt 600; split 128;" if node == "fw1" else "secondary;"
    return f"""
authoritative; one-lease-per-client true; deny duplicates; update-conflict-detection false; ping-check false;
default-lease-time {LEASE_S}; max-lease-time {LEASE_S};
failover peer "lan" {{
  {role} address {SYNC4[node]}; port {own_port}; peer address {SYNC4[other]}; peer port {peer_port};
  max-response-delay 10; max-unacked-updates 10; load balance max seconds 3;
}}
subnet {SUBNET} netmask {MASK} {{
  option routers {VIP4}; option domain-name-servers {VIP4};
  pool {{ deny dynamic bootp clients; failover peer "lan"; range {FIRST} {LAST}; }}
}}
"""


def isc_state(lab: Lab, node: str) -> str:
    """The last state that a dhcpd wrote down; a restarted one writes it anew."""
    text = (lab.node_dir(node) / "dhcpd.leases").read_text(errors="replace")
    _, _, last = text.rpartition('failover peer "lan" state {')
    found = [line.split()[2] for line in last.splitlines() if line.strip().startswith("my state")]
    return found[0] if found else ""


def kea_config(lab: Lab, node: str) -> dict[str, object]:
    """Kea's configuration; no timer is given, so all have their defaults."""
    threads = {"enable-multi-threading": True, "http-dedicated-listener": True,
               "http-listener-threads": 2, "http-client-threads": 2}  # fmt: skip
    peers = [{"name": peer, "url": f"http://{SYNC4[peer]}:8765/", "role": role, "auto-failover": True}
             for peer, role in (("fw1", "primary"), ("fw2", "standby"))]  # fmt: skip
    pair = {"this-server-name": node, "mode": "hot-standby", "peers": peers, "multi-threading": threads}
    pool = plainkea.Pool(
        device="lan0", subnet=f"{SUBNET}/{PREFIX}", first=FIRST, last=LAST, lease_s=LEASE_S, router=VIP4
    )
    hooks: list[dict[str, object]] = [
        {"library": str(HOOKS / "libdhcp_lease_cmds.so")},
        {"library": str(HOOKS / "libdhcp_ha.so"), "parameters": {"high-availability": [pair]}},
    ]
    return plainkea.config(lab.node_dir(node) / "kea", pool, hooks)


def kea_state(lab: Lab, node: str) -> str:
    """What Kea's HA hook says; nothing while it does not answer."""
    try:
        shown = kea_command(lab, node, "status-get")
        return str(shown["arguments"]["high-availability"][0]["ha-servers"]["local"]["state"])
    except (OSError, ValueError, LookupError):
        return ""


def kea_command(lab: Lab, node: str, command: str) -> Any:
    """One command through the control socket, and its answer."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(REPLY_MAX_S)
        channel.connect(str(lab.node_dir(node) / "kea" / "ctl"))
        channel.sendall(json.dumps({"command": command}).encode())
        return json.loads(b"".join(iter(lambda: channel.recv(65536), b"")))


def signal_named(lab: Lab, node: str, name: str, number: signal.Signals) -> None:
    """Signals the processes of that name in one node; waits until they are gone."""
    found = [pid for pid in netns.pids(lab.topology.namespace(node)) if netns.process_name(pid) == name]
    if not found:
        raise RuntimeError(f"no {name} runs on {node}")
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    deadline = time.monotonic() + REPLY_MAX_S
    while any(netns.is_alive(pid) for pid in found) and time.monotonic() < deadline:
        time.sleep(0.005)
