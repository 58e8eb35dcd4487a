"""What is in an image, for people and for scanners: packages, plugins, versions, hashes, licences. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from appliance_images.lock import Lock, Pin
from appliance_images.recipe import Recipe

FORMAT = 1
Manifest = dict[str, Any]
LICENCES_MAX = 12


def manifest(
    recipe: Recipe,
    lock: Lock,
    *,
    version: str,
    debian: Sequence[Mapping[str, str]],
    python: Sequence[Mapping[str, str]],
) -> Manifest:
    """The manifest of a system, as it is inside the image; hashes of what was made are added beside it."""
    hashes = {pin.name: pin.sha256 for pin in (*lock.debs, *lock.kernel)}
    wheels = {_normal(pin.name): pin.sha256 for pin in lock.wheels}
    return {
        "format": FORMAT,
        "version": version,
        "flavor": recipe.flavor.name,
        "date": lock.date,
        "suite": lock.suite,
        "kernel": lock.kernel[0].name.removeprefix("linux-image-") if lock.kernel else "",
        "plugins": [{"name": each.name, "distribution": each.distribution} for each in recipe.plugins],
        "debian": [{**each, "sha256": hashes.get(each["name"], "")} for each in debian],
        "python": [{**each, "sha256": wheels.get(_normal(each["name"]), "")} for each in python],
    }


def debian_packages(pins: Sequence[Pin], copyright_of: Callable[[str], str]) -> Iterator[dict[str, str]]:
    """Name, version and licences of these packages."""
    for pin in pins:
        yield {"name": pin.name, "version": pin.version, "licence": licences(copyright_of(pin.name))}


def licences(text: str) -> str:
    """Short names of the licences in a copyright file (Debian's machine-readable format 1.0)."""
    if not text:
        return "unknown"
    if "copyright-format/1.0" not in text[:2000] and not text.startswith("Format:"):
        named = [
            name for name in ("GPL-2", "GPL-3", "LGPL-2.1", "LGPL-3", "BSD", "Apache-2.0", "Artistic") if name in text
        ]
        return ", ".join(named) or "see its copyright file"
    found = dict.fromkeys(match.strip() for match in re.findall(r"^License: *(\S[^\n]*)", text, re.M))
    return ", ".join(list(found)[:LICENCES_MAX]) or "see its copyright file"


def sbom(made: Manifest) -> dict[str, Any]:
    """The same as a CycloneDX 1.5 document, which scanners for vulnerabilities read."""
    components = [
        *(_component(each, f"pkg:deb/debian/{each['name']}@{each['version']}?arch=amd64") for each in made["debian"]),
        *(_component(each, f"pkg:pypi/{_normal(each['name'])}@{each['version']}") for each in made["python"]),
    ]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "operating-system", "name": "ha-appliance", "version": made["version"]}},
        "components": components,
    }


def _component(each: Mapping[str, str], url: str) -> dict[str, Any]:
    component: dict[str, Any] = {"type": "library", "name": each["name"], "version": each["version"], "purl": url}
    component["licenses"] = [{"license": {"name": each["licence"]}}]
    if each["sha256"]:
        component["hashes"] = [{"alg": "SHA-256", "content": each["sha256"]}]
    return component


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
