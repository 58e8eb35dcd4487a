"""Signatures: only a trusted key's counts, and only for exactly what was signed."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance_images import signing


def key_pair(folder: Path, name: str) -> Path:
    """A private key; its public half is ``NAME.pub``."""
    private = folder / f"{name}.key"
    (folder / f"{name}.pub").write_text(signing.make(private))
    return private


def test_what_a_trusted_key_signed_is_accepted(tmp_path: Path) -> None:
    private = key_pair(tmp_path, "one")
    key_pair(tmp_path, "two")
    assert private.stat().st_mode & 0o777 == 0o600
    signature = signing.sign(signing.read_private(private), b"manifest")
    signing.verify(b"manifest", signature, tmp_path.glob("*.pub"))


def test_anything_else_is_refused(tmp_path: Path) -> None:
    signature = signing.sign(signing.read_private(key_pair(tmp_path, "one")), b"manifest")
    for data, keys in ((b"manifest!", tmp_path.glob("*.pub")), (b"manifest", iter(()))):
        with pytest.raises(ApplianceError, match="the signature is wrong"):
            signing.verify(data, signature, keys)
    (tmp_path / "one.pub").unlink()
    key_pair(tmp_path, "two")
    with pytest.raises(ApplianceError, match="none of the keys"):
        signing.verify(b"manifest", signature, tmp_path.glob("*.pub"))
    with pytest.raises(ApplianceError, match="the signature is wrong"):
        signing.verify(b"manifest", b"short", tmp_path.glob("*.pub"))


def test_a_key_file_is_never_overwritten_and_nonsense_is_no_key(tmp_path: Path) -> None:
    private = key_pair(tmp_path, "one")
    with pytest.raises(ApplianceError, match="File exists"):
        signing.make(private)
    (tmp_path / "bad").write_text("appliance-image-key:AAAA")
    for path in (tmp_path / "bad", tmp_path / "absent", tmp_path / "one.pub"):
        with pytest.raises(ApplianceError, match="is no key"):
            signing.read_private(path)
