"""Builds an image: from a configuration and the chosen plugins to a disk, an upgrade file and a manifest."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.errors import ApplianceError, UsageError
from appliance_images import bundle, disk, lock, recipe, rootfs, signing, slotfile, system, wheels
from appliance_images.debs import Apt
from appliance_images.declared import ask
from appliance_images.kernel import unpacked_firmware, unpacked_kernel
from appliance_images.lock import Lock
from appliance_images.tools import Progress, Say

CACHE = Path("/var/cache/ha-appliance/images")
SUITE = "bookworm"
CONFIG_FILE = "appliance.toml"
LEFTOVERS = ("build-*", "base-*", "site-*", "kernel-*", "firmware-*", "python/*.*")
"""Folders in which something is made before it gets its name; the keys of what is kept have no dot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be built."""

    output: Path
    config: Path | None = None
    flavor: str = "vm"
    plugins: tuple[str, ...] = ()
    """Names of plugins that are installed here, wheels, and names of distributions."""
    key: Path | None = None
    """Signs the image; nobody can upgrade an image that was built without."""
    lock: Path | None = None
    cache: Path = CACHE


def build(order: Order, say: Say) -> dict[str, Any]:
    """Build; what was made, for people and for the manifest beside the image.

    Raises:
        ApplianceError: Something is wrong with the configuration, a plugin, or a tool.
    """
    progress = Progress(say)
    key = signing.read_private(order.key) if order.key else None
    flavor = recipe.flavor_named(order.flavor)
    prepare(order)
    with alone(order.cache, progress), tempfile.TemporaryDirectory(prefix="build-", dir=order.cache) as name:
        work = Path(name)
        progress("plugins and configuration")
        extra = extra_wheels(order, work)
        names = [each for each in order.plugins if not _is_foreign(each)]
        unpacked = [work / "extra"] if extra else []
        plan = recipe.merge(flavor, ask(flavor.name, order.config, [*names, *_plugins_of(unpacked)], unpacked))
        pinned = locked(order, plan, extra, progress)
        parts = cached(order, plan, pinned, progress)
        python = parts.python
        progress("Python packages")
        sites = [rootfs.site_of(order.cache, pinned, python), site_folder(work, plan, extra)]
        rootfs.compile_all(python, work, f"/{system.SITE}")
        whole(plan, sites)
        modules = rootfs.archive_modules(python, sites, work / "modules")
        stem = order.output / f"appliance-{wheels.own_version()}-{flavor.name}"
        progress("system slot")
        slot = work / "slot.squashfs"
        public = signing.public_text(key) if key else ""
        with tarfile.open(parts.base) as archive:
            made = system.system_tree(
                plan, pinned, archive, parts=parts, sites=sites, modules=modules, public_keys=public
            )
            about = json.loads(made.data(system.MANIFEST))
            sbom = made.data(system.SBOM)
            slotfile.write(made, slot, flavor=flavor, shared=system.MANIFEST, mtime=pinned.date)
        progress("disk")
        about["slot"] = {"sha256": lock.sha256_of(slot), "size": slot.stat().st_size}
        seed = f"{about['slot']['sha256']}/{about['version']}"
        files = {CONFIG_FILE: order.config.read_bytes()} if order.config else {}
        raw = stem.with_name(f"{stem.name}.raw")
        disk.write(raw, disk.plan(flavor, seed, pinned.date), slot, files, work)
        disk.qcow2(raw, stem.with_name(f"{stem.name}.qcow2"))
        progress("manifest and upgrade file")
        about["disk"] = {"sha256": lock.sha256_of(raw), "size": raw.stat().st_size}
        text = json.dumps(about, indent=1).encode()
        stem.with_name(f"{stem.name}.manifest.json").write_bytes(text)
        stem.with_name(f"{stem.name}.sbom.json").write_bytes(sbom)
        if key is not None:
            signature = signing.sign(key, text)
            stem.with_name(f"{stem.name}.manifest.sig").write_bytes(signature)
            bundle.write(stem.with_name(f"{stem.name}.upgrade"), text, signature, slot, pinned.date)
    progress("done")
    return summary(stem, about, progress.elapsed_s)


def prepare(order: Order) -> None:
    """Make the folders, or say why not."""
    for folder in (order.output, order.cache):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ApplianceError(
                f"the folder {folder} cannot be made: {error.strerror}",
                hint="Choose another one with -o and --cache, or run this as root.",
            ) from error


@contextmanager
def alone(cache: Path, say: Say) -> Iterator[None]:
    """One build at a time for a cache: apt and what is unpacked there know nothing of each other."""
    with (cache / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another build with this cache")
            fcntl.flock(file, fcntl.LOCK_EX)
        sweep(cache)
        yield


def sweep(cache: Path) -> None:
    """Remove what builds have left in their cache that were killed; nobody else may be building."""
    for pattern in LEFTOVERS:
        for folder in cache.glob(pattern):
            shutil.rmtree(folder, ignore_errors=True)


def extra_wheels(order: Order, work: Path) -> list[Path]:
    """Wheels of plugins that are not installed here, unpacked for being asked."""
    found = []
    for each in order.plugins:
        path = Path(each)
        if _is_foreign(each):
            if not path.is_file():
                raise UsageError(f"there is no wheel {each}", hint="Name a .whl file, or an installed plugin.")
            found.append(path)
            wheels.unpack(path, work / "extra")
    return found


def locked(order: Order, plan: recipe.Recipe, extra: Sequence[Path], say: Say) -> Lock:
    """The lock of this build: the one that is there if it fits, else a new one."""
    path = order.lock or order.output / f"{plan.flavor.name}.lock.json"
    requirements = sorted(
        {*wheels.own_requirements(), *(line for wheel in extra for line in wheels.wheel_requirements(wheel))}
    )
    own = [f"wheel:{wheel.name}:{lock.sha256_of(wheel)}" for wheel in extra]
    wanted = (
        *(f"drivers:{name}" for name in (plan.flavor.kernel, *plan.flavor.firmware)),
        *plan.packages,
        *(f"python:{each}" for each in requirements),
        *own,
    )
    apt = Apt(order.cache / f"apt-{SUITE}", SUITE)
    folder = order.cache / "wheels"
    if path.exists() and (pinned := lock.read(path)).fits(SUITE, wanted):
        say(f"inputs pinned in {path}")
        apt.fetch((*pinned.debs, *pinned.kernel))
        wheels.verify(folder, pinned.wheels)
        return pinned
    say("resolving and downloading packages")
    pinned = Lock(
        date=apt.update(),
        suite=SUITE,
        wanted=wanted,
        debs=tuple(apt.closure(plan.packages)),
        kernel=(*apt.kernel(plan.flavor.kernel), *(apt.alone(name) for name in plan.flavor.firmware)),
        wheels=tuple(wheels.download(folder, requirements)),
    )
    path.write_text(pinned.text())
    return pinned


def cached(order: Order, plan: recipe.Recipe, pinned: Lock, say: Say) -> system.Parts:
    """What was made of packages alone; what is not in the cache is made."""
    archives = order.cache / f"apt-{SUITE}" / "archives"
    say(f"base system of {len(pinned.debs)} packages")
    base = rootfs.base_system(order.cache, archives, pinned, plan.packages)
    say(f"kernel {pinned.kernel[0].name}")
    kernel, *firmware = (archives / pin.file for pin in pinned.kernel)
    return system.Parts(
        base=base,
        kernel=unpacked_kernel(order.cache, kernel),
        firmware=unpacked_firmware(order.cache, firmware),
        python=rootfs.python_of(order.cache, pinned, base),
    )


def site_folder(work: Path, plan: recipe.Recipe, extra: Sequence[Path]) -> Path:
    """Our packages and the wheels that were named, below the path that they will have in the image."""
    site = work / system.SITE
    site.mkdir(parents=True)
    for wheel in extra:
        wheels.unpack(wheel, site)
    own = [plugin for plugin in plan.plugins if plugin.distribution == wheels.OWN]
    wheels.copy_own(site, [plugin.package for plugin in own], [plugin.name for plugin in own])
    return site


def whole(plan: recipe.Recipe, sites: Sequence[Path]) -> None:
    """Raise `UsageError` unless every plugin is in one of these folders."""
    absent = [plugin for plugin in plan.plugins if not any((site / plugin.package).exists() for site in sites)]
    if absent:
        raise UsageError(
            f"the plugin {absent[0].name} of {absent[0].distribution} is installed here, and its wheel is not known",
            hint="Name the wheel with --plugin FILE.whl.",
        )


def summary(stem: Path, about: dict[str, Any], took_s: float) -> dict[str, Any]:
    """What a build tells."""
    made = sorted(stem.parent.glob(f"{stem.name}.*"))
    return {
        "image": str(stem.with_name(f"{stem.name}.raw")),
        "flavor": about["flavor"],
        "kernel": about["kernel"],
        "plugins": [each["name"] for each in about["plugins"]],
        "files": {path.name: path.stat().st_blocks * 512 for path in made},
        "slot_bytes": about["slot"]["size"],
        "sha256": about["disk"]["sha256"],
        "signed": stem.with_name(f"{stem.name}.manifest.sig").exists(),
        "seconds": round(took_s, 1),
    }


def _is_foreign(plugin: str) -> bool:
    return plugin.endswith(".whl")


def _plugins_of(folders: Sequence[Path]) -> list[str]:
    """Names of the plugins in folders of unpacked wheels."""
    texts = [path.read_text() for folder in folders for path in sorted(folder.glob("*.dist-info/entry_points.txt"))]
    sections = [re.search(r"^\[appliance\.plugins\]\n(.*?)(?=^\[|\Z)", text, re.M | re.S) for text in texts]
    return [line.split("=")[0].strip() for found in sections if found for line in found[1].splitlines() if "=" in line]
