"""The first root of an image: finds the slot that the boot loader chose, and hands over to it."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

from appliance_images import cpio
from appliance_images.kernel import Modules

FOLDERS = ("bin", "sbin", "modules", "proc", "sys", "dev", "run", "lower", "top", "root")
APPLETS = (
    "sh", "mount", "umount", "mkdir", "insmod", "switch_root", "cat", "hexdump", "losetup", "sed", "sleep", "readlink",
    "tr", "cp", "reboot", "echo", "ls", "chmod", "rm", "mv", "sync",
)  # fmt: skip
LEVEL = 6


def build(busybox: bytes, init: str, modules: Modules, names: Sequence[str]) -> bytes:
    """The compressed archive: busybox, these modules with all they need, and the script."""
    files = list(modules.needed(names))
    entries = [cpio.folder(name) for name in FOLDERS]
    entries += [cpio.file("init", init.encode(), 0o755), cpio.file("bin/busybox", busybox, 0o755)]
    entries += [cpio.link(f"bin/{applet}", "busybox") for applet in APPLETS]
    entries.append(cpio.file("modules/order", "".join(f"{path.name}\n" for path in files).encode()))
    entries += [cpio.file(f"modules/{path.name}", path.read_bytes()) for path in files]
    return gzip.compress(cpio.archive(entries), LEVEL, mtime=0)


def init_script() -> str:
    """The script that the kernel starts."""
    return (Path(__file__).parent / "boot" / "init").read_text()
