"""Writing the other slot: what is on the disk at every moment, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance_images import grubenv, signing, slots
from appliance_images.grubenv import BootState
from tests.unit.images.machines import SYSTEM, FileMachine, file_machine, upgrade


@pytest.fixture
def machine(tmp_path: Path) -> FileMachine:
    return file_machine(tmp_path)


def test_an_upgrade_is_in_the_other_slot_and_boots_next_on_trial(machine: FileMachine, tmp_path: Path) -> None:
    assert slots.add(machine, upgrade(tmp_path)) == {"slot": "b", "version": "2.0", "flavor": "vm", "boots": "next"}
    assert (tmp_path / "disk4").read_bytes()[: len(SYSTEM)] == SYSTEM
    assert machine.boot_state() == BootState(order="ba", left=(3, grubenv.TRIAL_BOOTS))


def test_a_disk_with_an_upgrade_on_it_serves_as_well(machine: FileMachine, tmp_path: Path) -> None:
    path = upgrade(tmp_path)
    path.write_bytes(path.read_bytes() + bytes(1 << 20))
    assert slots.add(machine, path)["slot"] == "b"


def test_the_running_slot_is_never_written(machine: FileMachine, tmp_path: Path) -> None:
    slots.add(machine, upgrade(tmp_path))
    assert (tmp_path / "disk3").read_bytes() == b"hsqs"


def test_a_wrong_signature_changes_nothing(machine: FileMachine, tmp_path: Path) -> None:
    signing.make(tmp_path / "stranger")
    before = (tmp_path / "grubenv").read_bytes(), (tmp_path / "disk4").read_bytes()
    with pytest.raises(ApplianceError, match="the signature is wrong"):
        slots.add(machine, upgrade(tmp_path, key="stranger"))
    assert ((tmp_path / "grubenv").read_bytes(), (tmp_path / "disk4").read_bytes()) == before


@pytest.mark.parametrize(
    ("system", "claimed"),
    [(SYSTEM[:-1] + b"x", SYSTEM), (b"nope" + SYSTEM[4:], b"nope" + SYSTEM[4:]), (SYSTEM[:-9], SYSTEM)],
)
def test_a_system_that_is_not_the_signed_one_never_boots(
    machine: FileMachine, tmp_path: Path, system: bytes, claimed: bytes
) -> None:
    with pytest.raises(ApplianceError, match=r"not the one that was signed|no complete upgrade"):
        slots.add(machine, upgrade(tmp_path, system=system, claimed=claimed))
    assert machine.boot_state().next_slot == "a"
    assert machine.boot_state().boots_left("b") == 0
    assert (tmp_path / "disk4").read_bytes()[:4] == bytes(4)


def test_a_power_failure_while_writing_leaves_the_running_system(
    machine: FileMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, written = os.pwrite, []

    def failing(handle: int, data: bytes, at: int) -> int:
        written.append(at)
        if at == 2 << 20:
            raise KeyboardInterrupt
        return real(handle, data, at)

    slots.add(machine, upgrade(tmp_path))  # there is a system in the slot, which is about to be replaced
    machine.set_boot_state(machine.boot_state().good("a"))
    monkeypatch.setattr(os, "pwrite", failing)
    with pytest.raises(KeyboardInterrupt):
        slots.add(machine, upgrade(tmp_path))
    assert machine.boot_state().next_slot == "a"
    assert (tmp_path / "disk4").read_bytes()[:4] == bytes(4), "the loader finds no system in it either"


def test_a_system_that_does_not_fit_is_refused_before_anything_is_written(machine: FileMachine, tmp_path: Path) -> None:
    (tmp_path / "disk4").write_bytes(b"old!" + bytes(1 << 20))
    with pytest.raises(ApplianceError, match="has room for"):
        slots.add(machine, upgrade(tmp_path))
    assert (tmp_path / "disk4").read_bytes()[:4] == b"old!"


def test_choosing_a_slot_needs_a_system_in_it(machine: FileMachine) -> None:
    with pytest.raises(ApplianceError, match="slot b holds no system"):
        slots.choose(machine, "b")
    assert slots.choose(machine, "a") == {"slot": "a", "boots": "next"}


def test_a_healthy_system_has_all_boots_back(machine: FileMachine) -> None:
    machine.set_boot_state(BootState(order="ab", left=(1, 3)))
    slots.mark_good(machine)
    assert machine.boot_state() == BootState(order="ab", left=(3, 3))


def test_a_machine_without_slots_says_so(tmp_path: Path) -> None:
    with pytest.raises(ApplianceError, match="does not run from an image"):
        slots.this_machine(tmp_path / "absent")
    (tmp_path / "facts").write_text("SLOT=b DISK=/dev/vda ESP=/dev/vda2 STEM=/dev/vda\n")
    found = slots.this_machine(tmp_path / "facts")
    assert (found.slot, found.device("a")) == ("b", Path("/dev/vda3"))
