"""A cluster of two machines from one image is upgraded, and loses a machine; connections through it go on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from appliance_images.hub import Hub, Segment
from appliance_images.qemu import VirtualMachine
from appliance_images.session import NODES, SEGMENTS
from tests.image.conftest import Cluster
from tests.image.nodes import BOOT_S, SETTLE_S, UPGRADE, asked, states, wait_for_health, wait_until
from tests.image.ping import first_answer
from tests.image.stream import Stream, connected

RESTORE_S = 30
"""A second or two, but for a machine that has no time."""
STATIONS = ("client0", "server0", "client1", "server1")
WAN_VIP, LAN_VIP, VIRTUAL_MAC = "198.51.100.200", "192.168.1.1", "00:00:5e:00:01:01"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with Hub(Segment(tmp_path, name, (*NODES, *STATIONS)) for name in SEGMENTS) as made:
        yield made


def resume(stack: ExitStack, cluster: Cluster, hub: Hub, folder: Path) -> tuple[VirtualMachine, VirtualMachine]:
    """Both machines go on in the same moment; consoles answer, and roles are as they were, when this returns."""
    first, second = restore(stack, cluster, hub, folder)
    for machine in (first, second):
        machine.reach_menu(SETTLE_S)
    wait_until(lambda: (states(first), states(second)) == ({"MASTER"}, {"BACKUP"}), "the roles are as they were")
    return first, second


def restore(stack: ExitStack, cluster: Cluster, hub: Hub, folder: Path) -> list[VirtualMachine]:
    """Both machines go on in the same moment: one that were late would have been missed, or find itself replaced."""
    machines = [
        stack.enter_context(VirtualMachine(each.again(folder, hub, is_held=True)))  # loads while the other is copied
        for each in (cluster.first, cluster.second)
    ]
    for machine in machines:
        machine.pause()  # it is already, but answers only when its memory is there
    for machine in machines:
        machine.go_on()
    return machines


def whole(stream: Stream) -> bool:
    """Whether nothing of it is missing, and the server saw the virtual address."""
    told = stream.end()
    assert told["sent"] == told["back"] == told["count"] > 0
    assert told["seen"] == WAN_VIP
    return True


def runs_from(machine: VirtualMachine) -> list[str]:
    """The slot that runs."""
    return [each["slot"] for each in asked(machine, "image list") if each["running"]]


@pytest.mark.timeout(1200)
def test_a_restored_cluster_serves_at_once_and_keeps_its_roles(cluster: Cluster, hub: Hub, tmp_path: Path) -> None:
    """What makes further tests cheap: nothing is booted, paired or elected again."""
    with ExitStack() as stack:
        client = stack.enter_context(closing(hub.segments["lan"].station("client0")))
        begin = time.monotonic()
        first, second = restore(stack, cluster, hub, tmp_path)
        went_on = time.monotonic()
        answered = first_answer(client, LAN_VIP, VIRTUAL_MAC, SETTLE_S)
        assert answered is not None
        print(f"restored within {went_on - begin:.2f} s, first answer of the virtual address {answered - begin:.2f} s")
        assert answered - begin < RESTORE_S
        assert (states(first), states(second)) == ({"MASTER"}, {"BACKUP"})


@pytest.mark.timeout(1200)
def test_connections_outlive_the_loss_of_a_machine(cluster: Cluster, hub: Hub, tmp_path: Path) -> None:
    lan, wan = hub.segments["lan"], hub.segments["wan"]
    with ExitStack() as stack:
        first, second = resume(stack, cluster, hub, tmp_path)
        before = stack.enter_context(connected(lan, wan, 0))
        first.kill()
        wait_until(lambda: states(second) == {"MASTER"}, "the other one takes over")
        after = stack.enter_context(connected(lan, wan, 1))
        assert whole(before)
        assert whole(after)


@pytest.mark.timeout(3000)
def test_a_connection_outlives_the_upgrade_of_both_machines(cluster: Cluster, hub: Hub, tmp_path: Path) -> None:
    with ExitStack() as stack:
        first, second = resume(stack, cluster, hub, tmp_path)
        stream = stack.enter_context(connected(hub.segments["lan"], hub.segments["wan"], 0))
        begin = f"image upgrade-cluster {UPGRADE}"
        wait_until(lambda: "plan: " in first.ask(f"{begin} --dry-run", SETTLE_S), "both are ready")
        first.send(begin)
        for machine in (second, first):
            machine.wait_for("appliance: slot b$", BOOT_S)
            wait_for_health(machine, "b")
        wait_until(lambda: asked(first, "image upgrade-status")["phase"] == "done", "the upgrade has ended well")
        wait_until(lambda: (states(first), states(second)) == ({"MASTER"}, {"BACKUP"}), "the roles are as before")
        assert whole(stream)
        assert [runs_from(machine) for machine in (first, second)] == [["b"], ["b"]]
