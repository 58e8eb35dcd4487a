"""Looks into disk images and puts configurations into them, without mounting anything."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from appliance.errors import ApplianceError
from appliance_images import disk, gpt, grubenv, tools
from appliance_images.build import CONFIG_FILE
from appliance_images.slots import SQUASHFS_MAGIC

MANIFEST = "usr/lib/appliance/manifest.json"
PIECE = 1 << 20


def inspect(image: Path) -> dict[str, Any]:
    """Partitions, the systems in the slots, and which one boots.

    Raises:
        ApplianceError: It is no image of ours, or a qcow2 file.
    """
    partitions = disk.partitions_of(image)
    with tempfile.TemporaryDirectory(prefix="inspect-") as name:
        work = Path(name)
        state = boot_state(image, partitions[1], work)
        slots = {slot: _system(image, partitions[disk.SLOT_NUMBERS[slot] - 1], work) for slot in grubenv.SLOTS}
    config = tools.run("debugfs", "-R", f"cat {CONFIG_FILE}", f"{image}?offset={partitions[4].start}")
    return {
        "partitions": [{"name": each.name, "mib": each.size // PIECE, "guid": str(each.guid)} for each in partitions],
        "next": state.next_slot,
        "slots": [
            {"slot": slot, "boots_left": state.boots_left(slot), **(system or {"version": ""})}
            for slot, system in slots.items()
        ],
        "configured": bool(config),
    }


def inject(image: Path, config: Path) -> dict[str, Any]:
    """Put a configuration into the configuration partition of a raw image.

    Raises:
        ApplianceError: The configuration is wrong, or the image is none of ours.
    """
    from appliance_images.declared import choose

    partition = disk.partitions_of(image)[4]
    plugins = [plugin.name for plugin in choose("vm", config, ())]
    with tempfile.TemporaryDirectory(prefix="inject-") as name:
        disk.put_files(f"{image}?offset={partition.start}", {CONFIG_FILE: config.read_bytes()}, Path(name))
    return {"image": str(image), "config": str(config), "uses": plugins}


def boot_state(image: Path, esp: gpt.Partition, work: Path) -> grubenv.BootState:
    """What the boot loader of a disk goes by."""
    copy = work / "grubenv"
    tools.run("mcopy", "-n", "-i", f"{image}@@{esp.start}", "::/grub/grubenv", copy)
    return grubenv.parse(copy.read_bytes())


def _system(image: Path, partition: gpt.Partition, work: Path) -> dict[str, Any] | None:
    """Version, flavor and plugins of the system in a slot; ``None`` when there is none."""
    with image.open("rb") as file:
        file.seek(partition.start)
        if file.read(len(SQUASHFS_MAGIC)) != SQUASHFS_MAGIC:
            return None
        file.seek(partition.start)
        copy = work / partition.name
        with copy.open("wb") as target:
            for _ in range(partition.size // PIECE):
                target.write(file.read(PIECE))
    try:
        about = json.loads(tools.run("rdsquashfs", "-c", MANIFEST, copy))
    except (ApplianceError, ValueError, subprocess.SubprocessError):
        return {"version": "damaged"}
    return {
        "version": about["version"],
        "flavor": about["flavor"],
        "kernel": about["kernel"],
        "plugins": [each["name"] for each in about["plugins"]],
        "debian_packages": len(about["debian"]),
        "python_packages": len(about["python"]),
    }
