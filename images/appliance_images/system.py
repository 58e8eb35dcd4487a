"""The system of a slot: base, kernel, Python, our files, and what the recipe asks for, put together as one tree."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from appliance_images import initramfs, manifest, rootfs, wheels
from appliance_images.kernel import Modules
from appliance_images.lock import Lock
from appliance_images.recipe import Recipe
from appliance_images.tree import Tree

SITE = rootfs.SITE
MODULES = "usr/lib/appliance/modules"
SITE_HOOK = f"""\
/{SITE}
import appliance_images.imports.finder as finder; finder.use("/{MODULES}")
"""
"""Python's `site` reads it in each process, and runs the second line."""
MANIFEST, SBOM = "usr/lib/appliance/manifest.json", "usr/lib/appliance/sbom.json"
EXECUTABLE = r"^usr/bin/|^usr/lib/appliance/[a-z]+$"
UNITS = "etc/systemd/system"
MASKED = (
    "systemd-networkd.service", "systemd-networkd.socket", "systemd-network-generator.service",
    "systemd-resolved.service", "systemd-firstboot.service", "systemd-hwdb-update.service",
    "systemd-machine-id-commit.service",
    "systemd-binfmt.service", "systemd-update-done.service", "systemd-sysusers.service", "systemd-pstore.service",
    "systemd-boot-system-token.service", "systemd-random-seed.service", "systemd-repart.service",
    "systemd-ask-password-console.path", "systemd-ask-password-wall.path", "systemd-pcrphase-sysinit.service",
    "systemd-pcrphase.service", "systemd-update-utmp.service", "systemd-journal-flush.service", "swap.target",
    "cryptsetup.target", "veritysetup.target", "integritysetup.target", "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount", "sys-kernel-config.mount", "sys-fs-fuse-connections.mount",
    "proc-sys-fs-binfmt_misc.automount", "dev-hugepages.mount", "dev-mqueue.mount", "kmod-static-nodes.service",
    "systemd-tmpfiles-setup-dev.service",
    "getty-static.service", "e2scrub_reap.service", "sysstat.service", "nftables.service", "ssh.service", "ssh.socket",
)  # fmt: skip
"""What systemd would start and an appliance has no use for."""
EMPTY_FOLDERS = {
    "config": 0o755,
    "dev": 0o755,
    "proc": 0o555,
    "sys": 0o555,
    "run": 0o755,
    "tmp": 0o1777,
    "var/tmp": 0o1777,
}
GROUP, GROUP_ID = "appliance", 650
"""Members may use the control socket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Where the parts are that are made of packages alone, and kept."""

    base: Path
    """Archive of the base system."""
    kernel: Path
    firmware: Path
    python: Path


def system_tree(
    recipe: Recipe,
    lock: Lock,
    base: tarfile.TarFile,
    *,
    parts: Parts,
    sites: Sequence[Path],
    modules: rootfs.ModuleArchive,
    public_keys: str,
) -> Tree:
    """All files of a slot; `sites` are folders of Python packages, `modules` an archive of them, `base` is open."""
    tree = Tree(lock.date)
    copyrights = _copyrights(base)
    for path in parts.firmware.glob("usr/share/doc/*/copyright"):
        copyrights[path.parent.name] = path.read_text(errors="replace")
    tree.add_archive(base)
    for name in (rootfs.PYTHON, "usr/lib/python3"):
        tree.add_tree(parts.python / name, name)
    tree.add_tree(parts.kernel / "usr/lib/modules", "usr/lib/modules", executable="^$")
    tree.add_tree(parts.firmware / "usr/lib/firmware", "usr/lib/firmware", executable="^$")
    for site in sites:
        tree.add_tree(site, SITE, executable="^$")
    tree.add_file("usr/lib/python3/dist-packages/appliance.pth", SITE_HOOK.encode())
    tree.add_file(MODULES, modules.file)
    for compiled in modules.instead_of:
        tree.drop(compiled)
    tree.add_tree(Path(__file__).parent / "overlay", "", executable=EXECUTABLE)
    _add_parts(tree, recipe)
    _add_system(tree, recipe)
    if public_keys:
        tree.add_file("usr/lib/appliance/keys/build.pub", public_keys.encode())
    add_boot(tree, recipe, parts.kernel)
    made = manifest.manifest(
        recipe,
        lock,
        version=wheels.own_version(),
        debian=list(manifest.debian_packages((*lock.debs, *lock.kernel), lambda name: copyrights.get(name, ""))),
        python=sorted(
            (each for site in sites for each in wheels.licences(site)), key=lambda each: each["name"].lower()
        ),
    )
    tree.add_file(MANIFEST, json.dumps(made, indent=1).encode())
    tree.add_file(SBOM, json.dumps(manifest.sbom(made)).encode())
    return tree


def add_boot(tree: Tree, recipe: Recipe, kernel: Path) -> None:
    """The kernel and its first root, where the boot loader finds them."""
    modules = Modules(kernel)
    modules.require(recipe.modules)
    archive = initramfs.build(
        tree.data("usr/bin/busybox"), initramfs.init_script(), modules, recipe.flavor.early_modules
    )
    tree.add_file("boot/vmlinuz", kernel / "vmlinuz")
    tree.add_file("boot/initrd.img", archive)


def _add_parts(tree: Tree, recipe: Recipe) -> None:
    """What plugins need."""
    for path, (package, name) in recipe.files.items():
        tree.add_file(path.lstrip("/"), files(package).joinpath(name).read_bytes())
    settings = "".join(f"{key} = {value}\n" for key, value in recipe.sysctls.items())
    tree.add_file("etc/sysctl.d/60-plugins.conf", settings.encode())
    tree.add_file("etc/modules-load.d/plugins.conf", "".join(f"{name}\n" for name in recipe.modules).encode())
    for unit in recipe.units:
        tree.add_link(f"{UNITS}/appliance.target.wants/{unit}", f"/usr/lib/systemd/system/{unit}")


def _add_system(tree: Tree, recipe: Recipe) -> None:
    """Folders, accounts, and which units there are."""
    for path, mode in EMPTY_FOLDERS.items():
        tree.add_folder(path, mode)
    tree.add_link("etc/appliance", "../config")
    tree.add_link("var/lib/appliance", "../../config/state")
    tree.add_link(f"{UNITS}/default.target", "appliance.target")
    for unit in MASKED:
        tree.add_link(f"{UNITS}/{unit}", "/dev/null")
    accounts = {GROUP: GROUP_ID, **recipe.users}
    users = "".join(
        f"{user}:x:{number}:{number}::/nonexistent:/usr/sbin/nologin\n" for user, number in recipe.users.items()
    )
    groups = "".join(f"{name}:x:{number}:\n" for name, number in accounts.items())
    tree.add_file("etc/passwd", (tree.text("etc/passwd") + users).encode())
    tree.add_file("etc/group", (tree.text("etc/group") + groups).encode())
    tree.add_file("etc/machine-id", b"uninitialized\n")
    tree.add_file("etc/fstab", b"")
    tree.add_file("etc/hostname", b"appliance\n")
    tree.add_link("etc/resolv.conf", "../run/resolv.conf")


def _copyrights(base: tarfile.TarFile) -> dict[str, str]:
    found = {}
    for member in base:
        parts = member.name.split("/")
        if member.isreg() and parts[-1] == "copyright" and "doc" in parts:
            file = base.extractfile(member)
            assert file is not None
            found[parts[-2]] = file.read().decode(errors="replace")
    return found
