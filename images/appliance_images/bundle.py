"""Upgrade files: a signed manifest and the system it describes, in the order in which they are checked."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from appliance.errors import ApplianceError
from appliance_images import signing

MANIFEST, SIGNATURE, SLOT = "manifest.json", "manifest.sig", "slot.squashfs"
MANIFEST_MAX_BYTES = 4 << 20
SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """An upgrade whose signature is right; its system is not yet checked against the manifest."""

    manifest: dict[str, Any]
    slot: IO[bytes]

    @property
    def size(self) -> int:
        """Of the system in bytes, as the manifest says."""
        return int(self.manifest["slot"]["size"])

    @property
    def sha256(self) -> str:
        """Of the system, as the manifest says."""
        return str(self.manifest["slot"]["sha256"])


def write(target: Path, manifest: bytes, signature: bytes, slot: Path, mtime: int) -> None:
    """Write an upgrade file."""
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in ((MANIFEST, manifest), (SIGNATURE, signature)):
            archive.addfile(_member(name, len(data), mtime), io.BytesIO(data))
        with slot.open("rb") as file:
            archive.addfile(_member(SLOT, slot.stat().st_size, mtime), file)


@contextmanager
def opened(path: Path, keys: Iterator[Path]) -> Iterator[Upgrade]:
    """An upgrade whose signature has been verified; the file may also be a disk with nothing but it.

    Raises:
        ApplianceError: It is no upgrade, or no trusted key has signed it.
    """
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r|") as archive:
            manifest = _next(archive, MANIFEST, MANIFEST_MAX_BYTES).read()
            signature = _next(archive, SIGNATURE, SIGNATURE_BYTES).read()
            signing.verify(manifest, signature, keys)
            upgrade = Upgrade(manifest=json.loads(manifest), slot=_next(archive, SLOT, None))
            if upgrade.size <= 0 or len(upgrade.sha256) != 64:
                raise ValueError("its manifest describes no system")
            yield upgrade
    except (OSError, tarfile.TarError, ValueError, KeyError, TypeError) as error:
        raise ApplianceError(
            f"{path} is no complete upgrade: {error}", hint="Name an .upgrade file that `appliance image build` made."
        ) from error


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
