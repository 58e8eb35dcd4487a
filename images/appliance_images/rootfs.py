"""The base system: Debian's packages unpacked and configured by mmdebstrap, kept by what went into it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import ApplianceError
from appliance_images import wheels
from appliance_images.debs import repository
from appliance_images.lock import Lock
from appliance_images.tools import run

HOOKS = "/usr/share/mmdebstrap/hooks/merged-usr"
"""Merges /bin into /usr/bin before anything is unpacked; the package usrmerge would bring 47 MB of perl."""
NO_ROOM = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*", "/usr/share/info/*")
SITE = "usr/lib/appliance/site"
"""Where Python packages are in an image."""
PYTHON = "usr/lib/python3.11"
STDLIB_UNUSED = ("idlelib", "lib2to3", "pydoc_data", "ensurepip", "test", "tkinter", "turtledemo", "distutils", "venv")


def base_system(cache: Path, archives: Path, lock: Lock, packages: Sequence[str]) -> Path:
    """The archive of the base system of this lock; made when it is not in the cache.

    Raises:
        ApplianceError: mmdebstrap failed.
    """
    place = cache / "base" / f"{lock.base_key}.tar"
    if place.exists():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="base-", dir=cache) as name:
        folder = Path(name)
        repository(folder / "repository", archives, lock.debs)
        command = mmdebstrap(folder, packages, is_root=os.geteuid() == 0)
        try:
            run(*command, env={"SOURCE_DATE_EPOCH": str(lock.date), "TMPDIR": str(folder)})
        except ApplianceError as error:
            if os.geteuid() == 0:
                raise
            raise ApplianceError(
                error.message, hint="Without root it needs user namespaces and the package uidmap; or run it as root."
            ) from error
        (folder / "base.tar").rename(place)
    return place


def mmdebstrap(folder: Path, packages: Sequence[str], *, is_root: bool) -> list[str]:
    """The command that makes ``base.tar`` in this folder from the repository in it."""
    excluded = [f"--dpkgopt=path-exclude={pattern}" for pattern in NO_ROOM]
    return [
        "mmdebstrap", "--quiet", "--variant=essential", f"--mode={'root' if is_root else 'unshare'}",
        "--architectures=amd64", f"--include={','.join(packages)}", f"--hook-dir={HOOKS}",
        '--aptopt=Apt::Install-Recommends "false"', "--dpkgopt=force-unsafe-io", *excluded,
        "--dpkgopt=path-include=/usr/share/doc/*/copyright", "", str(folder / "base.tar"),
        f"deb [trusted=yes] copy:{folder / 'repository'} ./",
    ]  # fmt: skip


def python_of(cache: Path, lock: Lock, base: Path) -> Path:
    """A folder with the image's own Python unpacked, its library compiled; kept beside the base system.

    Compiled files are checked by nobody at run time (PEP 552, unchecked): the file system they are on is read-only,
    and times of files, by which Python checks otherwise, are all the same in an image.
    """
    place = cache / "python" / lock.base_key
    if place.exists():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    making = place.with_name(f"{place.name}.{os.getpid()}")
    making.mkdir()
    members = [
        "./usr/bin/python3.11",
        "./usr/lib/x86_64-linux-gnu",
        f"./{PYTHON}",
        "./usr/lib/python3",
        "./lib64",
        "./usr/lib64",
    ]
    run("tar", "-x", "--no-same-owner", "-f", base, "-C", making, *members)
    for name in STDLIB_UNUSED:
        shutil.rmtree(making / PYTHON / name, ignore_errors=True)
    for cached in list(making.rglob("__pycache__")):
        shutil.rmtree(cached)
    compile_all(making, making, f"/{PYTHON}", "/usr/lib/python3")
    making.rename(place)
    return place


def site_of(cache: Path, lock: Lock, python: Path) -> Path:
    """The folder of other people's Python packages, compiled; kept as long as the same wheels are pinned."""
    kept = cache / "site" / lock.site_key
    if kept.exists():
        return kept / SITE
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="site-", dir=cache) as name:
        making = Path(name) / "made"
        (making / SITE).mkdir(parents=True)
        for pin in lock.wheels:
            wheels.unpack(cache / "wheels" / pin.file, making / SITE)
        compile_all(python, making, f"/{SITE}")
        making.rename(kept)
    return kept / SITE


def compile_all(python: Path, root: Path, *folders: str) -> None:
    """Compile the Python files in these folders of `root` with the interpreter of the image."""
    options: list[str | Path] = ["-q", "-j", "1", "--invalidation-mode", "unchecked-hash", "-s", root, "-p", "/"]
    places = [root / folder.lstrip("/") for folder in folders]
    interpret(python, "compileall", *options, *places)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleArchive:
    """What modules are imported from (`appliance_images.imports`)."""

    file: Path
    instead_of: tuple[str, ...]
    """Paths of the compiled files that are in it, and need not be in the image, too."""


def archive_modules(python: Path, sites: Sequence[Path], file: Path) -> ModuleArchive:
    """Make the archive of the modules in these folders of packages and in the library of the image.

    Raises:
        ApplianceError: It cannot be made.
    """
    folders = [(python / PYTHON, PYTHON), (python / "usr/lib/python3", "usr/lib/python3")]
    folders += [(site, SITE) for site in sites]
    mapping = [f"{folder}=/{place}" for folder, place in folders]
    paths = [*sites, python / "usr/lib/python3/dist-packages"]
    interpret(python, "appliance_images.imports.record", file, *mapping, paths=paths)
    listing = file.with_name(f"{file.name}.instead").read_text()
    return ModuleArchive(file=file, instead_of=tuple(line.lstrip("/") for line in listing.splitlines()))


def interpret(python: Path, module: str, *argv: str | Path, paths: Sequence[Path] = ()) -> None:
    """Run a module with the interpreter of the image.

    Raises:
        ApplianceError: It failed.
    """
    libraries = python / "usr/lib/x86_64-linux-gnu"
    loader = libraries / "ld-linux-x86-64.so.2"
    program = python / "usr/bin/python3.11"
    env = {
        "PYTHONHOME": str(python / "usr"),
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "PYTHONDONTWRITEBYTECODE": "",
    }
    run(loader, "--library-path", libraries, program, "-S", "-B", "-m", module, *argv, env=env)
