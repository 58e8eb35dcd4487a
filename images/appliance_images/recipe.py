"""What an image is made of: a flavor, and the needs of the chosen plugins merged with it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from appliance.errors import PluginError, UsageError
from appliance.plugin import ImagePart

V = TypeVar("V")
MIB = 1 << 20
USER_ID_FIRST = 700
"""Users of plugins; Debian gives 100 to 999 to its own system users from below, systemd from above."""

BASE_PACKAGES = (
    "busybox-static", "ca-certificates", "chrony", "conntrack", "e2fsprogs", "ethtool", "iproute2", "iputils-ping",
    "kmod", "less", "nftables", "procps", "python3", "systemd", "systemd-sysv", "tcpdump", "tzdata",
    "udev", "usr-is-merged",
)  # fmt: skip
STORAGE_VM = (
    "virtio_pci",
    "virtio_blk",
    "virtio_scsi",
    "sd_mod",
    "nvme",
    "loop",
    "squashfs",
    "overlay",
    "ext4",
    "crc32c_generic",
)
STORAGE_HARDWARE = (
    "ahci",
    "ata_piix",
    "xhci_pci",
    "ehci_pci",
    "usb_storage",
    "uas",
    "sr_mod",
    "mmc_block",
    "sdhci_pci",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavor:
    """A kind of image."""

    name: str
    summary: str
    kernel: str
    """Debian's package of packages."""
    early_modules: tuple[str, ...]
    """What finds the disk."""
    firmware: tuple[str, ...] = ()
    """Debian's packages of what network cards need to be told; unpacked as the kernel is, not installed."""
    compression: str
    """Of the system, which the kernel reads: ``xz`` is small, ``zstd`` quick to make and to read."""
    block_bytes: int
    """Of the squashfs. A file is read in whole blocks: small ones start programs faster, large ones are smaller."""
    slot_mib: int = 256
    config_mib: int = 64
    console: str = "console=tty0 console=ttyS0,115200"


FLAVORS = {
    flavor.name: flavor
    for flavor in (
        Flavor(
            name="vm",
            summary="virtual machines: Debian's cloud kernel, fast to build and to boot",
            kernel="linux-image-cloud-amd64",
            early_modules=STORAGE_VM,
            compression="zstd",
            block_bytes=64 << 10,
        ),
        Flavor(
            name="usb",
            summary="hardware and virtual machines: Debian's full kernel, microcode, small",
            kernel="linux-image-amd64",
            early_modules=(*STORAGE_VM, *STORAGE_HARDWARE),
            firmware=("firmware-realtek", "firmware-bnx2", "firmware-bnx2x"),
            compression="xz",
            block_bytes=256 << 10,
        ),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A plugin that goes into the image, with what it needs."""

    name: str
    distribution: str
    package: str
    """Its import package."""
    part: ImagePart


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that is decided before anything is downloaded."""

    flavor: Flavor
    plugins: tuple[Chosen, ...]
    packages: tuple[str, ...]
    modules: tuple[str, ...]
    sysctls: Mapping[str, str]
    files: Mapping[str, tuple[str, str]]
    """Path in the image to package and name of the resource."""
    units: tuple[str, ...]
    users: Mapping[str, int]


def flavor_named(name: str) -> Flavor:
    """The flavor of this name, or `UsageError`."""
    if name not in FLAVORS:
        raise UsageError(f"there is no flavor {name}", hint=f"The flavors are: {', '.join(FLAVORS)}.")
    return FLAVORS[name]


def merge(flavor: Flavor, plugins: Sequence[Chosen]) -> Recipe:
    """One recipe of all that is needed.

    Raises:
        PluginError: Two plugins want one file or sysctl to be different things.
    """
    files: dict[str, tuple[str, str]] = {}
    sysctls: dict[str, str] = {}
    owners: dict[str, str] = {}
    for plugin in plugins:
        for path, resource in plugin.part.files.items():
            package, _, name = resource.partition(":")
            _claim(owners, files, path, (package, name), plugin.name)
        for key, value in plugin.part.sysctls.items():
            _claim(owners, sysctls, key, value, plugin.name)
    parts = [plugin.part for plugin in plugins]
    users = sorted({user for part in parts for user in part.users})
    return Recipe(
        flavor=flavor,
        plugins=tuple(sorted(plugins, key=lambda plugin: plugin.name)),
        packages=tuple(sorted({*BASE_PACKAGES, *(name for part in parts for name in part.packages)})),
        modules=tuple(sorted({name for part in parts for name in part.kernel_modules})),
        sysctls=dict(sorted(sysctls.items())),
        files=dict(sorted(files.items())),
        units=tuple(sorted({unit for part in parts for unit in part.units})),
        users={user: USER_ID_FIRST + index for index, user in enumerate(users)},
    )


def _claim(owners: dict[str, str], taken: dict[str, V], key: str, value: V, owner: str) -> None:
    if key in taken and taken[key] != value:
        raise PluginError(
            f"the plugins {owners[key]} and {owner} want {key} in the image to be different things",
            hint="Leave one of them out, or tell their authors.",
        )
    taken[key] = value
    owners.setdefault(key, owner)
