"""Two machines started from one image become a cluster, which is upgraded and loses a machine: connections go on."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance_images.hub import Hub, Segment
from appliance_images.qemu import MENU, VirtualMachine
from appliance_images.session import NODES, SEGMENTS, machines_of, write_example
from tests.image.conftest import Built
from tests.image.stream import connected

BOOT_S, SETTLE_S = 900, 240
STATIONS = ("client0", "server0", "client1", "server1")
WAN_VIP = "198.51.100.200"
UPGRADE = "/dev/vdb"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with Hub(Segment(tmp_path, name, (*NODES, *STATIONS)) for name in SEGMENTS) as made:
        yield made


def with_large_frames(config: Path) -> Path:
    """The upgrade goes through the segment between the nodes, and each frame costs an emulated machine a lot."""
    config.write_text(config.read_text().replace("[interfaces.sync]", "[interfaces.sync]\nmtu = 9000"))
    return config


def asked(machine: VirtualMachine, line: str) -> Any:
    """The data that a command of the node prints."""
    text = machine.ask(f"{line} --json", SETTLE_S)
    found = re.search(r"(\{\n.*\n\}|\[\n.*\n\])", text, re.S)  # the console also shows what others write to it
    assert found is not None, text
    return json.loads(found[0])


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Ask again until it is so."""
    end = time.monotonic() + SETTLE_S
    while not condition():
        assert time.monotonic() < end, what


def states(machine: VirtualMachine) -> set[str]:
    return {vip["state"] for vip in asked(machine, "show carp")["vips"]}


def runs_from(machine: VirtualMachine) -> set[str]:
    """The slot that runs."""
    return {each["slot"] for each in asked(machine, "image list") if each["running"]}


def pair(first: VirtualMachine, second: VirtualMachine) -> None:
    """As two operators would; until the first one is MASTER."""
    for machine in (first, second):
        machine.wait_for(r"node \w+ is up", BOOT_S)
        machine.reach_menu(SETTLE_S)
    second.send("pair --listen --json")
    said = second.wait_for(r'"code":\s*"([^"]+)"[^[]*"addresses":\s*\[\s*"([^"]+)"', SETTLE_S)
    first.ask(f"pair {said[2]} --code {said[1]}", SETTLE_S)
    second.wait_for(MENU, SETTLE_S)
    wait_until(lambda: asked(first, "show sync")["state"] == "in-sync", "the configuration is on both")
    wait_until(lambda: (states(first), states(second)) == ({"MASTER"}, {"BACKUP"}), "one is MASTER")


def upgrade(first: VirtualMachine, second: VirtualMachine) -> None:
    """Both machines take the new system, one after the other; then everything is as before."""
    wait_until(lambda: "plan: " in first.ask(f"image upgrade-cluster {UPGRADE} --dry-run", SETTLE_S), "both are ready")
    first.send(f"image upgrade-cluster {UPGRADE}")
    for machine in (second, first):
        machine.wait_for("appliance: slot b$", BOOT_S)
        machine.wait_for("slot b is healthy and stays", BOOT_S)
    wait_until(lambda: asked(first, "image upgrade-status")["phase"] == "done", "the upgrade has ended well")
    assert [runs_from(machine) for machine in (first, second)] == [{"b"}, {"b"}]
    wait_until(lambda: (states(first), states(second)) == ({"MASTER"}, {"BACKUP"}), "the roles are as before")


@pytest.mark.timeout(3000)
def test_connections_outlive_the_upgrade_of_a_cluster_and_the_loss_of_a_machine(
    built: Built, hub: Hub, tmp_path: Path
) -> None:
    configs = [with_large_frames(write_example(tmp_path, node)) for node in NODES]
    machines = machines_of(built.file(".qcow2"), tmp_path, hub, NODES, configs, uefi=False, kvm=False)
    hardware = [replace(each, disks=[built.file(".upgrade")]) for each in machines]
    lan, wan = hub.segments["lan"], hub.segments["wan"]
    with contextlib.ExitStack() as stack:
        first, second = (stack.enter_context(VirtualMachine(each)) for each in hardware)
        pair(first, second)
        stream = stack.enter_context(connected(lan, wan, 0))
        upgrade(first, second)
        first.kill()
        wait_until(lambda: states(second) == {"MASTER"}, "the other one takes over")
        later = stack.enter_context(connected(lan, wan, 1))
        for told in (stream.end(), later.end()):
            assert told["sent"] == told["back"] == told["count"] > 0
            assert told["seen"] == WAN_VIP
