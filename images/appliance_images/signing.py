"""Signatures of images and upgrades: Ed25519 (RFC 8032), one key file for whoever builds, public keys in the image."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from appliance.errors import ApplianceError

CONTEXT = b"ha-appliance image manifest 1\n"
"""Prefix of what is signed, so that a signature means nothing anywhere else."""
KEY_HEAD, PUBLIC_HEAD = "appliance-image-key:", "appliance-image-public:"
KEYS_FOLDER = Path("/usr/lib/appliance/keys")
"""Where a running image has the public keys it trusts."""
KEY_FILE_MAX_BYTES = 256


def make(path: Path) -> str:
    """Write a new private key to a file that does not exist yet; its public half.

    Raises:
        ApplianceError: The file exists, or cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    text = KEY_HEAD + base64.b64encode(key.private_bytes_raw()).decode() + "\n"
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(text)
    except OSError as error:
        raise ApplianceError(
            f"the key cannot be written to {path}: {error.strerror}", hint="Name a new file in a folder that exists."
        ) from error
    return public_text(key)


def read_private(path: Path) -> Ed25519PrivateKey:
    """The private key in this file, or `ApplianceError`."""
    return Ed25519PrivateKey.from_private_bytes(_raw(path, KEY_HEAD))


def public_text(key: Ed25519PrivateKey) -> str:
    """The public half, as it is in an image."""
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return PUBLIC_HEAD + base64.b64encode(raw).decode() + "\n"


def sign(key: Ed25519PrivateKey, data: bytes) -> bytes:
    """The signature of a manifest."""
    return key.sign(CONTEXT + data)


def verify(data: bytes, signature: bytes, keys: Iterable[Path]) -> None:
    """Raise `ApplianceError` unless one of the public keys in these files has signed it."""
    paths = sorted(keys)
    for path in paths:
        try:
            Ed25519PublicKey.from_public_bytes(_raw(path, PUBLIC_HEAD)).verify(signature, CONTEXT + data)
        except InvalidSignature:
            continue
        return
    what = "it is signed by none of the keys that this system trusts" if paths else "this system trusts no key"
    raise ApplianceError(
        f"the signature is wrong: {what}",
        hint="Nothing was changed. Get the file again from where you trust, or build it with the key of this system.",
    )


def _raw(path: Path, head: str) -> bytes:
    try:
        with path.open() as file:
            text = file.read(KEY_FILE_MAX_BYTES)
        if not text.startswith(head):
            raise ValueError(f"it does not begin with {head}")
        raw = base64.b64decode(text.removeprefix(head), validate=False)
        if len(raw) != 32:
            raise ValueError("a key has 32 bytes")
    except (OSError, ValueError) as error:
        raise ApplianceError(f"{path} is no key: {error}", hint="`appliance image key FILE` makes one.") from error
    return raw
