"""Machines whose partitions are files, and upgrades for them."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from appliance_images import bundle, fat, grubenv, signing, slots
from appliance_images.grubenv import BootState

SYSTEM = b"hsqs" + os.urandom(3 << 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMachine(slots.Machine):
    """A machine whose partitions and environment block are files."""

    def block(self, handle: int) -> list[fat.Extent]:
        return [fat.Extent(offset=0, size=512), fat.Extent(offset=512, size=512)]


def file_machine(folder: Path) -> FileMachine:
    """A machine that runs from slot a and trusts the key in the file ``key`` of the folder."""
    (folder / "grubenv").write_bytes(grubenv.format_block(BootState()))
    (folder / "disk3").write_bytes(b"hsqs")
    (folder / "disk4").write_bytes(bytes(4 << 20))
    (folder / "keys").mkdir()
    (folder / "keys" / "one.pub").write_text(signing.make(folder / "key"))
    return FileMachine(
        slot="a", esp=str(folder / "grubenv"), stem=str(folder / "disk"), keys=folder / "keys",
        mount_point=folder / "esp",
    )  # fmt: skip


def upgrade(folder: Path, *, system: bytes = SYSTEM, claimed: bytes = SYSTEM, key: str = "key") -> Path:
    """An upgrade file; `claimed` is what its manifest describes."""
    slot = {"sha256": hashlib.sha256(claimed).hexdigest(), "size": len(claimed)}
    manifest = json.dumps({"version": "2.0", "flavor": "vm", "slot": slot}).encode()
    (folder / "slot").write_bytes(system)
    signature = signing.sign(signing.read_private(folder / key), manifest)
    bundle.write(folder / "file.upgrade", manifest, signature, folder / "slot", 0)
    return folder / "file.upgrade"
