"""How virtual machines are started, and what a console that says nothing leads to."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from appliance.errors import ApplianceError, UsageError
from appliance_images import qemu, session

HARDWARE = qemu.Hardware(disk=Path("/i.qcow2"), folder=Path("/f"), netdevs=("user,id=net0", "user,id=net1"))


def test_network_cards_have_fixed_places_and_addresses() -> None:
    words = qemu.command(HARDWARE)
    cards = [word for word in words if word.startswith("virtio-net-pci")]
    assert [card.split(",")[2] for card in cards] == ["addr=0x8", "addr=0x9"]
    assert qemu.mac("fw1", 0) != qemu.mac("fw2", 0)
    assert int(qemu.mac("fw1", 0).split(":")[0], 16) & 3 == 2, "locally administered, for one station"


def test_only_what_was_asked_for_is_there() -> None:
    words = qemu.command(HARDWARE)
    assert "-nodefaults" in words, "no card that reaches the network of this machine"
    assert "kvm" not in words
    assert not any("fw_cfg" in word or "pflash" in word for word in words)
    more = qemu.Hardware(disk=Path("/i.raw"), folder=Path("/f"), uefi=True, config=Path("/c.toml"), disks=(Path("/d"),))
    given = list(pairwise(qemu.command(more)))
    assert ("-fw_cfg", "name=opt/org.appliance/config,file=/c.toml") in given
    assert any("pflash,unit=0" in two and "readonly=on" in two for one, two in given if one == "-drive")
    assert any("file=/d" in two and "readonly=on" in two for one, two in given if one == "-drive")


def test_a_saved_machine_goes_on_from_its_moment_and_may_be_held_there() -> None:
    saved = replace(HARDWARE, overlay=Path("/copy.qcow2"), snapshot="healthy")
    given = list(pairwise(qemu.command(saved)))
    assert ("-loadvm", "healthy") in given
    assert any("file=/copy.qcow2" in two for one, two in given if one == "-drive")
    assert "-S" not in qemu.command(saved)
    assert "-S" in qemu.command(replace(saved, is_held=True))


def test_the_example_cluster_fits_these_machines() -> None:
    first, second = (session.example_config(node) for node in session.NODES)
    for device in ("ens8", "ens9", "ens10"):
        assert f'device = "{device}"' in first
    assert 'name = "fw1"' in first
    assert 'role = "secondary"' in second


def test_a_session_without_an_image_or_with_too_few_configurations_is_refused(tmp_path: Path) -> None:
    options = {"uefi": False, "kvm": False}
    with pytest.raises(UsageError, match="there is no image"):
        session.run_session(tmp_path / "absent", cluster=False, configs=[], **options)
    (tmp_path / "image").touch()
    with pytest.raises(UsageError, match="2 nodes need as many configurations, and 1"):
        session.run_session(tmp_path / "image", cluster=True, configs=[tmp_path / "one.toml"], **options)


def test_a_disk_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ApplianceError, match="qemu-img failed"):
        qemu.VirtualMachine(qemu.Hardware(disk=tmp_path / "absent.raw", folder=tmp_path))
