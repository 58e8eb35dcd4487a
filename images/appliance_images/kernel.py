"""Debian's kernel for an image: unpacked from its package, without what no firewall has, never installed."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from appliance.errors import ApplianceError
from appliance_images.tools import run

DROPPED = (
    "drivers/accessibility", "drivers/bluetooth", "drivers/gpu", "drivers/hid", "drivers/iio", "drivers/infiniband",
    "drivers/input/joystick", "drivers/input/misc", "drivers/input/tablet", "drivers/input/touchscreen",
    "drivers/isdn", "drivers/media", "drivers/net/can", "drivers/net/fddi", "drivers/net/wireless", "drivers/nfc",
    "drivers/net/wwan", "drivers/net/ieee802154", "drivers/net/hamradio", "drivers/staging", "drivers/thunderbolt",
    "drivers/video", "drivers/comedi", "drivers/power", "drivers/leds", "drivers/md", "drivers/mtd",
    "drivers/target", "drivers/scsi/lpfc", "drivers/scsi/qla2xxx", "drivers/scsi/be2iscsi", "drivers/scsi/bfa",
    "drivers/platform", "drivers/xen", "drivers/block/drbd", "drivers/gnss", "drivers/vdpa", "drivers/firewire",
    "drivers/usb/gadget", "drivers/memstick", "drivers/parport", "drivers/pcmcia", "drivers/w1", "drivers/dax",
    "fs/btrfs", "fs/xfs", "fs/ocfs2", "fs/gfs2", "fs/nfs", "fs/nfsd", "fs/smb", "fs/cifs", "fs/ksmbd", "fs/ceph",
    "fs/f2fs", "fs/jfs", "fs/reiserfs", "fs/ubifs", "fs/udf", "fs/afs", "fs/coda", "fs/dlm", "fs/erofs", "fs/hfs",
    "fs/hfsplus", "fs/jffs2", "fs/lockd", "fs/minix", "fs/nilfs2", "fs/ntfs", "fs/ntfs3", "fs/orangefs", "fs/quota",
    "fs/romfs", "fs/sysv", "fs/ufs", "fs/9p", "fs/affs", "fs/befs", "fs/bfs", "fs/efs", "fs/hpfs", "fs/qnx4",
    "fs/qnx6", "fs/omfs", "fs/freevxfs", "fs/adfs", "net/9p", "net/atm", "net/ax25", "net/batman-adv",
    "net/bluetooth", "net/caif", "net/can", "net/ceph", "net/hsr", "net/ieee802154", "net/mac80211", "net/mac802154",
    "net/netrom", "net/nfc", "net/openvswitch", "net/rds", "net/rose", "net/rxrpc", "net/sctp", "net/smc",
    "net/sunrpc", "net/tipc", "net/wireless", "net/6lowpan", "net/appletalk", "net/x25", "net/lapb", "net/phonet",
    "arch/x86/kvm", "sound", "lib/test_bpf.ko", "drivers/tee", "drivers/soundwire", "drivers/rpmsg", "drivers/uio",
)  # fmt: skip
"""Folders of modules that are left out: nothing here forwards, stores or shows a packet."""
WIRELESS = ("rtl_bt", "rtlwifi", "rtw88", "rtw89")
"""Folders of firmware whose drivers are left out."""


def unpacked_kernel(cache: Path, deb: Path) -> Path:
    """A folder with ``vmlinuz`` and ``usr/lib/modules/VERSION`` of this package; kept by its name."""
    place = cache / "kernel" / deb.stem
    if place.exists():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kernel-", dir=cache) as name:
        folder = Path(name)
        run("dpkg-deb", "-x", deb, folder / "all")
        made = folder / "made"
        (made / "usr/lib").mkdir(parents=True)
        (folder / "all/lib/modules").rename(made / "usr/lib/modules")
        (vmlinuz,) = (folder / "all/boot").glob("vmlinuz-*")
        vmlinuz.rename(made / "vmlinuz")
        (made / "lib").symlink_to("usr/lib")
        (version,) = (made / "usr/lib/modules").iterdir()
        prune(version / "kernel")
        run("depmod", "-b", made, version.name)
        made.chmod(0o755)
        os.rename(made, place)
    return place


def unpacked_firmware(cache: Path, debs: Sequence[Path]) -> Path:
    """A folder with ``usr/lib/firmware`` and the licences of these packages; kept by their names."""
    key = hashlib.sha256("\n".join(deb.stem for deb in debs).encode()).hexdigest()[:16]
    place = cache / "firmware" / key
    if place.exists():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="firmware-", dir=cache) as name:
        made = Path(name) / "made"
        (made / "usr/lib").mkdir(parents=True)
        (made / "lib").symlink_to("usr/lib")
        for deb in debs:
            run("sh", "-c", 'dpkg-deb --fsys-tarfile "$0" | tar -x --keep-directory-symlink -C "$1"', deb, made)
        for folder in WIRELESS:
            shutil.rmtree(made / "usr/lib/firmware" / folder, ignore_errors=True)
        os.rename(made, place)
    return place


def prune(modules: Path) -> None:
    """Remove what is dropped."""
    for name in DROPPED:
        path = modules / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


class Modules:
    """The modules of one kernel, by name."""

    def __init__(self, kernel: Path) -> None:
        (self.folder,) = (kernel / "usr/lib/modules").iterdir()
        self._files: dict[str, tuple[str, list[str]]] = {}
        for line in (self.folder / "modules.dep").read_text().splitlines():
            file, _, rest = line.partition(":")
            self._files[_name(file)] = (file, rest.split())
        self._builtin = {_name(line) for line in (self.folder / "modules.builtin").read_text().splitlines()}

    def needed(self, names: Iterable[str]) -> Iterator[Path]:
        """Files of these modules and of all they depend on, in the order in which they can be loaded."""
        given = set[str]()
        for name in names:
            key = name.replace("-", "_")
            if key not in self._files:
                continue  # built in, or not of this kernel: a cloud kernel has no AHCI
            file, others = self._files[key]
            for each in [*reversed(others), file]:
                if each not in given:
                    given.add(each)
                    yield self.folder / each

    def require(self, names: Iterable[str]) -> None:
        """Raise `ApplianceError` that names the modules which this kernel has neither as files nor built in."""
        known = self._files.keys() | self._builtin
        missing = [name for name in names if name.replace("-", "_") not in known]
        if missing:
            raise ApplianceError(
                f"the kernel {self.folder.name} has no {', '.join(missing)}",
                hint="Choose the flavor usb, whose kernel has more modules, or leave out the plugin that needs it.",
            )


def _name(file: str) -> str:
    return Path(file).name.split(".")[0].replace("-", "_")
