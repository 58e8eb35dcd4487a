"""The systems under measurement, each started in the nodes of a lab and driven through the same faults."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from appliance.lab import waiting
from appliance.lab.config import NodeSettings
from appliance.lab.lab import Lab
from appliance.lab.plan import Software
from appliance.lab.topology import Topology

SETTLE_S = 30.0
ADDRESSES = {
    "lan0": ("192.168.1.1/24", 1, {"fw1": "192.168.1.2", "fw2": "192.168.1.3"}),
    "wan0": ("198.51.100.200/24", 200, {"fw1": "198.51.100.201", "fw2": "198.51.100.202"}),
}
"""Device: virtual address, VHID, own addresses. IPv4 only: that is what all systems can do."""


class System(ABC):
    """One implementation of a redundant pair."""

    name: str
    software = Software.BARE
    death_wait_s = 6.0
    """How long a probe watches after the node died; longer than the system needs to take over."""
    cable_wait_s = 6.0
    stop_is_planned = "SIGTERM"
    """What stands for a planned handover."""

    def make_lab(self, name: str) -> Lab:
        """The lab it runs in."""
        return Lab(Topology(name=name, ipv6=False), software=self.software)

    @abstractmethod
    def start(self, lab: Lab, node: str) -> None:
        """Start it on a node that has power."""

    @abstractmethod
    def kill(self, lab: Lab, node: str) -> None:
        """``kill -9`` of what sends the heartbeats."""

    @abstractmethod
    def hand_over(self, lab: Lab) -> None:
        """A planned handover from fw1 to fw2."""

    def restore(self, lab: Lab) -> None:
        """Bring fw1 back after `hand_over`."""
        self.start(lab, "fw1")

    def restore_killed(self, lab: Lab) -> None:
        """Bring fw1 back after `kill`."""
        self.restore(lab)

    def wait_settled(self, lab: Lab) -> None:
        """Until fw1 alone holds every address."""
        waiting.wait_until(
            lambda: self._holders(lab) == (["fw1"] * len(ADDRESSES)), f"{self.name}: fw1 holds all", SETTLE_S
        )

    def _holders(self, lab: Lab) -> list[str]:
        found = []
        for node in ("fw1", "fw2"):
            if lab.has_power(node):
                shown = lab.exec(node, "ip", "-o", "-4", "addr", "show", check=False).stdout
                found += [node for vip, _, _ in ADDRESSES.values() if f" {vip.partition('/')[0]}/" in shown]
        return found


class Appliance(System):
    """This project."""

    software = Software.APPLIANCE
    stop_is_planned = "ha switchover"

    def __init__(self, profile: str = "book", *, sync_cable: bool = True) -> None:
        self.name = f"appliance, {profile} profile" + ("" if sync_cable else ", sync cable cut")
        self._profile = profile
        self._sync_cable = sync_cable
        self.death_wait_s = 2.0 if sync_cable else (6.0 if profile == "book" else 3.0)
        self.cable_wait_s = 2.0

    def make_lab(self, name: str) -> Lab:
        return Lab(Topology(name=name), settings=NodeSettings(profile=self._profile))

    def start(self, lab: Lab, node: str) -> None:
        """Init has started it."""

    def restore(self, lab: Lab) -> None:
        """After a switchover fw2 hands back."""
        lab.exec("fw2", "appliance", "ha", "switchover")

    def restore_killed(self, lab: Lab) -> None:
        """It restarts by itself, but a service that is killed again and again is given up on: start the node anew."""
        lab.stop("fw1")
        lab.start("fw1")

    def wait_settled(self, lab: Lab) -> None:
        lab.wait_settled("fw1", SETTLE_S)
        if self._profile == "fast":
            lab.wait_for(_is_fast, "fw1 sends sub-second adverts", SETTLE_S)
        if not self._sync_cable and not lab.faults_in_force():
            lab.pull("fw1", "sync")

    def kill(self, lab: Lab, node: str) -> None:
        lab.kill(node, "heartbeat")

    def hand_over(self, lab: Lab) -> None:
        lab.exec("fw1", "appliance", "ha", "switchover")


class Ucarp(System):
    """ucarp: one process per address, 1 s."""

    name = "ucarp 1.5.2, 1 s"
    death_wait_s = 8.0
    cable_wait_s = 8.0

    def start(self, lab: Lab, node: str) -> None:
        for device, (vip, vhid, own) in ADDRESSES.items():
            up = _script(lab, f"{device}-up", f"ip addr add {vip} dev {device}")
            down = _script(lab, f"{device}-down", f"ip addr del {vip} dev {device}")
            argv = [
                "ucarp", "-i", device, "-s", own[node], "-v", str(vhid), "-p", "secret", "-a", vip.partition("/")[0],
                "-b", "1", "-k", "0" if node == "fw1" else "100", "-P", "-z",
                f"--upscript={up}", f"--downscript={down}",
            ]  # fmt: skip
            lab.spawn(node, argv, log=lab.directory / f"{node}-{device}.log")

    def kill(self, lab: Lab, node: str) -> None:
        _signal(lab, node, "ucarp", signal.SIGKILL)

    def restore(self, lab: Lab) -> None:
        _signal(lab, "fw1", "ucarp", signal.SIGKILL)
        for device, (vip, _, _) in ADDRESSES.items():
            lab.exec("fw1", "ip", "addr", "del", vip, "dev", device, check=False)
        self.start(lab, "fw1")

    def hand_over(self, lab: Lab) -> None:
        _signal(lab, "fw1", "ucarp", signal.SIGTERM)


class Keepalived(System):
    """keepalived with virtual MACs and a sync group."""

    def __init__(self, version: int, interval_s: float) -> None:
        self.name = f"keepalived 2.2.7, VRRPv{version} {interval_s:g} s, use_vmac"
        self._version, self._interval_s = version, interval_s

    def start(self, lab: Lab, node: str) -> None:
        instances = "".join(
            f"vrrp_instance {device} {{\n state BACKUP\n interface {device}\n use_vmac\n virtual_router_id {vhid}\n"
            f" priority {200 if node == 'fw1' else 100}\n advert_int {self._interval_s:g}\n"
            f" virtual_ipaddress {{\n {vip}\n }}\n}}\n"
            for device, (vip, vhid, _) in ADDRESSES.items()
        )
        config = lab.directory / f"{node}-keepalived.conf"
        config.write_text(
            f"global_defs {{\n router_id {node}\n vrrp_version {self._version}\n vrrp_rt_priority 50\n}}\n"
            f"vrrp_sync_group all {{\n group {{\n {' '.join(ADDRESSES)}\n }}\n}}\n{instances}"
        )
        run = lab.directory / f"{node}-keepalived"
        for left in lab.directory.glob(f"{run.name}*.pid"):
            left.unlink()  # of one that was killed: keepalived would think that it runs already
        argv = [
            "keepalived", "--dont-fork", "--log-console", "--vrrp", "--use-file", str(config),
            "--pid", f"{run}.pid", "--vrrp_pid", f"{run}-vrrp.pid", "--checkers_pid", f"{run}-check.pid",
        ]  # fmt: skip
        lab.spawn(node, argv, log=lab.directory / f"{node}-keepalived.log")

    def kill(self, lab: Lab, node: str) -> None:
        _signal(lab, node, "keepalived", signal.SIGKILL)

    def restore(self, lab: Lab) -> None:
        _signal(lab, "fw1", "keepalived", signal.SIGKILL)
        shown = lab.exec("fw1", "ip", "-o", "link", "show", "type", "macvlan").stdout
        for device in re.findall(r"^\d+: ([^@:]+)", shown, re.MULTILINE):
            lab.exec("fw1", "ip", "link", "del", device, check=False)
        self.start(lab, "fw1")

    def hand_over(self, lab: Lab) -> None:
        _signal(lab, "fw1", "keepalived", signal.SIGTERM)


def _is_fast(view: Mapping[str, dict[str, object]]) -> bool:
    """Both nodes have agreed on sub-second adverts; after a slow one they wait ten seconds with that."""
    vips = cast("list[dict[str, object]]", view.get("fw1", {}).get("vips", []))
    return bool(vips) and all(vip["advbase"] == 0 for vip in vips)


def rivals() -> list[System]:
    """What we compare with."""
    return [Ucarp(), Keepalived(2, 1), Keepalived(3, 0.1)]


def require_tools() -> None:
    """Fail early when a rival is not installed."""
    missing = [tool for tool in ("ucarp", "keepalived", "ip", "nft") if shutil.which(tool) is None]
    if missing:
        raise SystemExit(f"missing: {', '.join(missing)}; 'make setup' installs what the benchmarks need")


def _script(lab: Lab, name: str, line: str) -> Path:
    path = lab.directory / name
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
    return path


def _signal(lab: Lab, node: str, name: str, number: signal.Signals) -> None:
    """Signal the processes of that name in one namespace of the lab, and nowhere else."""
    listed = subprocess.run(
        ["ip", "netns", "pids", lab.topology.namespace(node)], capture_output=True, text=True, check=True
    )
    for pid in map(int, listed.stdout.split()):
        try:
            if Path(f"/proc/{pid}/comm").read_text().strip() == name:
                os.kill(pid, number)
        except (FileNotFoundError, ProcessLookupError):
            continue
