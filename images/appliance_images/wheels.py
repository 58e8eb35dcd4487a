"""Python in an image: our own packages as they are installed here, all others from pinned wheels.

A wheel is an archive that is unpacked (PEP 427), for the Python of the image and not for that of this machine.
Versions are those that are installed here, because these were tested together.
"""

from __future__ import annotations

import email.message
import importlib.metadata
import importlib.util
import json
import re
import shutil
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from appliance.errors import ApplianceError
from appliance.host.discovery import GROUP, ISOLATED
from appliance_images.lock import Pin, sha256_of
from appliance_images.tools import run

OWN = "ha-appliance"
PYTHON_VERSION = "3.11"
GLIBC_MINOR = 36
"""Of the image: Debian 12. pip takes platforms word by word, so each older one is named, too."""
UNUSED = re.compile(
    r"(^|/)(tests?|f2py|__pycache__|include|_examples)/|\.(pyi|pxd|h|a|lib|c)$|\.dist-info/(RECORD|INSTALLER|REQUESTED)$"
)


def own_version() -> str:
    """The version of the appliance that goes into the image: the one that runs here."""
    return importlib.metadata.version(OWN)


def own_requirements() -> tuple[str, ...]:
    """What our distribution needs to run, each at the version that is installed here."""
    return tuple(f"{name}=={importlib.metadata.version(name)}" for name in requirement_names(OWN))


def requirement_names(distribution: str) -> list[str]:
    """Names of what an installed distribution requires without extras."""
    return _names(importlib.metadata.requires(distribution) or ())


def wheel_requirements(wheel: Path) -> list[str]:
    """Requirements of a wheel, without extras and without our own distribution, which is in every image."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        metadata = email.message_from_bytes(archive.read(name))
    plain = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    return [line.replace(" ", "") for line in plain if _names([line]) != [OWN]]


def _names(requirements: Iterable[str]) -> list[str]:
    found = (re.match(r"[A-Za-z0-9._-]+", line) for line in requirements if "extra ==" not in line)
    return [match[0].rstrip(".") for match in found if match]


def download(folder: Path, requirements: Sequence[str], *, with_dependencies: bool = True) -> list[Pin]:
    """Get wheels for the Python of the image into the folder; what is needed of them, pinned.

    Raises:
        ApplianceError: One of them does not exist as a wheel.
    """
    folder.mkdir(parents=True, exist_ok=True)
    constraints = folder / "constraints.txt"
    constraints.write_text(
        "".join(f"{d.name}=={d.version}\n" for d in importlib.metadata.distributions() if d.name != OWN)
    )
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in range(5, GLIBC_MINOR + 1)]
    options = [word for each in (*platforms, "manylinux2014_x86_64") for word in ("--platform", each)]
    if not with_dependencies:
        options.append("--no-deps")
    target = ("--python-version", PYTHON_VERSION, "--implementation", "cp", "--only-binary=:all:")
    report = folder / "report.json"
    pip = (
        sys.executable,
        "-m",
        "pip",
        "install",
        "--dry-run",
        "--ignore-installed",
        "--quiet",
        "--target",
        folder / "none",
    )
    run(*pip, *target, *options, "--constraint", constraints, "--report", report, *requirements)
    found = json.loads(report.read_text())["install"]
    wanted = [item["metadata"] for item in found if not (folder / _file_of(item)).exists()]
    exact = [f"{item['name']}=={item['version']}" for item in wanted]
    if exact:
        run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *target, *options, "-d", folder, *exact)
    return sorted(_pin(folder, item["metadata"]["name"], item["metadata"]["version"]) for item in found)


def _file_of(item: dict[str, Any]) -> str:
    """Name of the wheel that pip would download, of its installation report."""
    return unquote(urlsplit(item["download_info"]["url"]).path).rpartition("/")[2]


def _pin(folder: Path, name: str, version: str) -> Pin:
    stem = f"{re.sub(r'[-_.]+', '_', name).lower()}-{version}-"
    found = [
        path for path in folder.glob("*.whl") if path.name.lower().replace("-", "_").startswith(stem.replace("-", "_"))
    ]
    if not found:
        raise ApplianceError(f"pip downloaded no wheel of {name} {version}", hint=f"Empty {folder} and try again.")
    return pinned(min(found))


def pinned(wheel: Path) -> Pin:
    """A wheel with its hash."""
    name, version, *_ = wheel.name.split("-")
    return Pin(name=name, version=version, file=wheel.name, sha256=sha256_of(wheel))


def verify(folder: Path, pins: Iterable[Pin]) -> None:
    """Raise `ApplianceError` unless every pinned wheel is in the folder, unchanged."""
    for pin in pins:
        path = folder / pin.file
        if not path.exists() or sha256_of(path) != pin.sha256:
            raise ApplianceError(
                f"{pin.file} is not in {folder} with the hash that the lock file names",
                hint="Put the right file there, or remove the lock file.",
            )


def unpack(wheel: Path, site: Path) -> None:
    """Unpack what an image needs of a wheel into a folder of packages."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            inside = re.sub(r"^[^/]+\.data/(purelib|platlib)/", "", name)
            if name.endswith("/") or ".data/" in inside or UNUSED.search(inside):
                continue
            target = (site / inside).resolve()
            if not target.is_relative_to(site.resolve()):
                raise ApplianceError(f"{wheel.name} would write outside of its folder", hint="Do not use this wheel.")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(name))


def copy_own(site: Path, packages: Sequence[str], plugins: Sequence[str]) -> None:
    """Put our distribution there with these packages and plugins only: the others do not exist in the image."""
    for package in ("appliance", *packages):
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        source = Path(spec.origin).parent
        shutil.copytree(source, site / package, ignore=shutil.ignore_patterns("__pycache__"))
    metadata = importlib.metadata.distribution(OWN)
    info = site / f"{OWN.replace('-', '_')}-{metadata.version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {OWN}\nVersion: {metadata.version}\nLicense: MIT\n")
    lines = []
    for group in (GROUP, ISOLATED):
        every = metadata.entry_points.select(group=group)
        points = [point for point in every if point.name.partition("/")[0] in plugins]
        lines += [f"[{group}]", *sorted(f"{point.name} = {point.value}" for point in points)]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def licences(site: Path) -> Iterator[dict[str, str]]:
    """Name, version and licence of every distribution in a folder of packages."""
    for info in sorted(site.glob("*.dist-info")):
        metadata = email.message_from_string((info / "METADATA").read_text())
        licence = metadata.get("License-Expression") or metadata.get("License") or _classified(metadata)
        yield {"name": metadata["Name"], "version": metadata["Version"], "licence": licence.splitlines()[0][:80]}


def _classified(metadata: email.message.Message) -> str:
    found = [
        line.split("::")[-1].strip() for line in metadata.get_all("Classifier", []) if line.startswith("License ::")
    ]
    return ", ".join(found) or "unknown"
