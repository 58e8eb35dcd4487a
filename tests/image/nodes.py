"""The two nodes of this tier: how they become a cluster, and how a test goes on from the moment they were saved in."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from appliance_images.hub import Hub
from appliance_images.qemu import MENU, Hardware, VirtualMachine, overlay_path
from appliance_images.session import SEGMENTS

BOOT_S, SETTLE_S = 900, 240
"""Some twenty seconds on two idle processors without hardware virtualization; a busy machine takes much longer."""
UPGRADE, FORGED = "/dev/vdb", "/dev/vdc"
"""Disks of every node: an upgrade to what runs already, and the same signed by somebody else."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A machine that was saved in a good moment."""

    hardware: Hardware
    name: str

    def again(self, folder: Path, hub: Hub | None = None, **more: Any) -> Hardware:
        """A copy that goes on from there, on the segments of a hub or alone."""
        folder.mkdir(exist_ok=True)
        overlay = Path(shutil.copy(overlay_path(self.hardware), folder / f"{self.hardware.name}.qcow2"))
        cards = [f"user,id=net{number},restrict=on" for number in range(len(SEGMENTS))]
        if hub is not None:
            cards = cards_on(hub, self.hardware.name)
        return replace(self.hardware, folder=folder, overlay=overlay, snapshot=self.name, netdevs=cards, **more)


def cards_on(hub: Hub, node: str) -> list[str]:
    """The network cards of a machine, one on each segment."""
    return [hub.segments[name].netdev(node, f"net{card}") for card, name in enumerate(SEGMENTS)]


def asked(machine: VirtualMachine, line: str) -> Any:
    """The data that a command of the node prints."""
    text = machine.ask(f"{line} --json", SETTLE_S)
    found = re.search(r"[{[]\n.*^[\]}]$", text, re.M | re.S)  # the console also shows what others write to it
    assert found is not None, text
    return json.loads(found[0])


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Ask again until it is so."""
    end = time.monotonic() + SETTLE_S
    while not condition():
        assert time.monotonic() < end, what


def states(machine: VirtualMachine) -> set[str]:
    """Of its virtual hosts."""
    return {vip["state"] for vip in asked(machine, "show carp")["vips"]}


def pair(first: VirtualMachine, second: VirtualMachine) -> None:
    """As two operators would; until both have proved healthy and the first one is MASTER."""
    for machine in (first, second):
        machine.wait_for(r"node \w+ is up", BOOT_S)
        machine.reach_menu(SETTLE_S)
    second.send("pair --listen --json")
    said = second.wait_for(r'"code":\s*"([^"]+)"[^[]*"addresses":\s*\[\s*"([^"]+)"', SETTLE_S)
    first.ask(f"pair {said[2]} --code {said[1]}", SETTLE_S)
    second.wait_for(MENU, SETTLE_S)
    wait_until(lambda: asked(first, "show sync")["state"] == "in-sync", "the configuration is on both")
    wait_until(lambda: (states(first), states(second)) == ({"MASTER"}, {"BACKUP"}), "one is MASTER")
    for machine in (first, second):
        wait_for_health(machine, "a")


def wait_for_health(machine: VirtualMachine, slot: str) -> None:
    """The console says so by itself, maybe in the middle of an answer."""
    said = f"slot {slot} is healthy and stays"
    if said not in machine.output:
        machine.wait_for(said, BOOT_S)
