"""Upgrade files: a signed manifest and the system it describes, in the order in which they are checked."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from appliance.errors import ApplianceError
from appliance_images import signing

MANIFEST, SIGNATURE, SLOT = "manifest.json", "manifest.sig", "slot.squashfs"
MANIFEST_MAX_BYTES = 4 << 20
SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a signed manifest says of the system."""

    version: str
    flavor: str
    size: int
    """Of the system in bytes."""
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """An upgrade whose signature is right; its system is not yet checked against the manifest."""

    about: About
    manifest: bytes
    signature: bytes
    slot: IO[bytes]


def write(target: Path, manifest: bytes, signature: bytes, slot: Path, mtime: int) -> None:
    """Write an upgrade file."""
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in ((MANIFEST, manifest), (SIGNATURE, signature)):
            archive.addfile(_member(name, len(data), mtime), io.BytesIO(data))
        with slot.open("rb") as file:
            archive.addfile(_member(SLOT, slot.stat().st_size, mtime), file)


@contextmanager
def opened(path: Path, keys: Iterable[Path]) -> Iterator[Upgrade]:
    """An upgrade whose signature has been verified; the file may also be a disk with nothing but it.

    Raises:
        ApplianceError: It is no upgrade, or no trusted key has signed it.
    """
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r|") as archive:
            manifest = _next(archive, MANIFEST, MANIFEST_MAX_BYTES).read()
            signature = _next(archive, SIGNATURE, SIGNATURE_BYTES).read()
            about = verified(manifest, signature, keys)
            yield Upgrade(about=about, manifest=manifest, signature=signature, slot=_next(archive, SLOT, None))
    except (OSError, tarfile.TarError, ValueError, KeyError, TypeError) as error:
        raise ApplianceError(
            f"{path} is no complete upgrade: {error}", hint="Name an .upgrade file that `appliance image build` made."
        ) from error


def verified(manifest: bytes, signature: bytes, keys: Iterable[Path]) -> About:
    """What a manifest says whose signature is right.

    Raises:
        ApplianceError: No trusted key has signed it.
        ValueError: It describes no system.
        KeyError: The same.
        TypeError: The same.
    """
    signing.verify(manifest, signature, keys)
    said = json.loads(manifest)
    slot = said["slot"]
    about = About(version=said["version"], flavor=said["flavor"], size=int(slot["size"]), sha256=str(slot["sha256"]))
    if about.size <= 0 or len(about.sha256) != 64:
        raise ValueError("its manifest describes no system")
    return about


def _next(archive: tarfile.TarFile, name: str, limit: int | None) -> IO[bytes]:
    member = archive.next()
    if member is None or member.name != name or not member.isreg() or (limit is not None and member.size > limit):
        raise ValueError(f"{name} is not where it belongs")
    file = archive.extractfile(member)
    assert file is not None
    return file


def _member(name: str, size: int, mtime: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, mtime, 0o644
    return info
