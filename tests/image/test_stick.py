"""Images without configuration: a stick for hardware asks its questions; a node is made by answering, and moves."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance_images.build import Order, build
from appliance_images.hub import Hub, Segment
from appliance_images.qemu import MENU, Hardware, VirtualMachine
from appliance_images.session import SEGMENTS
from tests.image.nodes import cards_on
from tests.meta.source import ROOT

BOOT_S, ANSWER_S = 900, 240
PASSWORD = "correct horse"
SIZE_MAX = 120 << 20
ANSWERS = (
    ("Name of the primary node", ""),
    ("Name of the secondary node", ""),
    ("This machine is", ""),
    ("Networks besides", ""),
    ("wan: device", "ens8"),
    ("wan: IPv4 network", ""),
    ("wan: IPv6 network", ""),
    ("wan: IPv4 router", ""),
    ("wan: VHID", ""),
    ("lan: device", "ens9"),
    ("lan: IPv4 network", ""),
    ("lan: IPv6 network", ""),
    ("lan: VHID", ""),
    ("lan: addresses for DHCP", "none"),
    ("sync: device", "ens10"),
    ("sync: IPv4 network", ""),
    ("Has fw2 devices", ""),
    ("Password of the virtual addresses", "generate"),
    ("Is this right", "yes"),
    ("New password of admin: ", "short"),
    (r"at least 8 characters\.\s+New password of admin: ", PASSWORD),
    ("Again: ", PASSWORD),
)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An image for virtual machines, which are quicker, with all bundled plugins and one of somebody else."""
    folder = tmp_path_factory.mktemp("bare")
    argv = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*argv, str(ROOT / "examples/appliance-plugin-hello")], check=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    yield from built(Order(output=folder, plugins=(str(wheel),)))


@pytest.fixture(scope="module")
def stick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An image for sticks, with all bundled plugins."""
    yield from built(Order(output=tmp_path_factory.mktemp("stick"), flavor="usb"))


def built(order: Order) -> Iterator[Path]:
    """Its disk, as long as it is needed."""
    yield Path(build(order, print)["image"])
    for path in order.output.iterdir():
        path.unlink()


def answer_the_wizard(machine: VirtualMachine) -> None:
    """As somebody would who has read nothing: mostly Enter."""
    machine.wait_for("This machine has no configuration", BOOT_S)
    for question, answer in ANSWERS:
        machine.wait_for(question, ANSWER_S)
        machine.send(answer)
    machine.wait_for(r"node fw1 is up", BOOT_S)
    machine.reach_menu(ANSWER_S)


def wait_for_master(machine: VirtualMachine) -> None:
    """Nobody else is there, but the node waits whether somebody is."""
    end = time.monotonic() + ANSWER_S
    while "MASTER of all 2 virtual hosts" not in machine.ask("show ha", ANSWER_S):
        assert time.monotonic() < end, machine.output[-2000:]


def use_the_shell(machine: VirtualMachine) -> None:
    """Entry 9: a commit for the plugin of somebody else; Ctrl-C and `exit` lead back to the menu."""
    machine.send("9")
    machine.wait_for(r"fw1\[\w+\]>", ANSWER_S)
    machine.send("configure")
    machine.wait_for(r"\[edit\]", ANSWER_S)
    machine.send("set hello greeting salve")
    machine.send("commit")
    machine.wait_for("is in force", ANSWER_S)
    machine.send("exit")
    machine.wait_for(r"fw1\[\w+\]>", ANSWER_S)
    machine.console.sendall(b"\x03")
    machine.send("exit")
    machine.wait_for(MENU, ANSWER_S)
    machine.console.sendall(b"\x03")
    machine.wait_for(MENU, ANSWER_S)


@pytest.mark.timeout(3000)
def test_a_bare_machine_becomes_a_node_and_moves_to_another_disk(bare: Path, tmp_path: Path) -> None:
    other_disk = tmp_path / "other.raw"
    with other_disk.open("wb") as file:
        file.truncate(1 << 30)
    with Hub(Segment(tmp_path, name, ("bare", "moved")) for name in SEGMENTS) as hub:
        cards = cards_on(hub, "bare")
        hardware = Hardware(disk=bare, folder=tmp_path, name="bare", netdevs=cards, targets=[other_disk])
        with VirtualMachine(hardware) as machine:
            answer_the_wizard(machine)
            wait_for_master(machine)
            use_the_shell(machine)
            assert "in use" in machine.ask("image install vda", ANSWER_S)
            machine.send("image install vdb")
            machine.wait_for("Everything on it is lost", ANSWER_S)
            machine.send("vdb")
            machine.wait_for("starts from this disk", ANSWER_S)
        moved = Hardware(disk=other_disk, folder=tmp_path, name="moved", netdevs=cards_on(hub, "moved"), uefi=True)
        with VirtualMachine(moved) as machine:
            machine.wait_for("node fw1 is up", BOOT_S)
            machine.reach_menu(ANSWER_S)
            wait_for_master(machine)
            assert "salve" in machine.ask("show hello", ANSWER_S)
            took = re.search(r"could become MASTER (\d+)\.\d s after", machine.ask("version", ANSWER_S))
            assert took is not None
            assert 0 < int(took[1]) < machine.uptime_s()


@pytest.mark.timeout(1200)
def test_a_stick_starts_under_uefi_and_asks(stick: Path, tmp_path: Path) -> None:
    assert stick.with_suffix(".qcow2").stat().st_size < SIZE_MAX
    with VirtualMachine(Hardware(disk=stick, folder=tmp_path, name="stick", is_stick=True, uefi=True)) as machine:
        machine.wait_for("This machine has no configuration", BOOT_S)
