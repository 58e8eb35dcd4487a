"""Secrets of the cluster: the key file, and every key that is derived from it."""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass, field
from hashlib import sha256

from appliance.errors import ApplianceError

KEYS_MAX = 4
"""Old, new, and two in reserve; every hello carries a code for each of them."""
SECRET_MIN_BYTES = 32
KEY_ID_BYTES = 8
MAC_BYTES = 16
DATA_KEY_BYTES = 32
"""AES-256."""
_NAME_MAX = 64
_REMEDY = f"Write one secret a line, 'name = 64 hex digits', at most {KEYS_MAX}; 'appliance pfsync key FILE' makes one."


def hkdf(secret: bytes, *, salt: bytes, info: bytes, size: int) -> bytes:
    """HKDF with SHA-256 (RFC 5869)."""
    extracted = hmac.digest(salt or bytes(sha256().digest_size), secret, "sha256")
    out, block = b"", b""
    while len(out) < size:
        block = hmac.digest(extracted, block + info + bytes((len(out) // sha256().digest_size + 1,)), "sha256")
        out += block
    return out[:size]


@dataclass(frozen=True, slots=True)
class Key:
    """One secret."""

    name: str
    secret: bytes = field(repr=False)
    id: bytes = field(init=False, compare=False)
    """Names the key on the wire without giving anything away."""
    _mac_key: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", hkdf(self.secret, salt=b"", info=b"pfsync key id", size=KEY_ID_BYTES))
        object.__setattr__(self, "_mac_key", hkdf(self.secret, salt=b"", info=b"pfsync hello", size=32))

    def mac(self, body: bytes) -> bytes:
        """The authentication bytes of a hello."""
        return hmac.digest(self._mac_key, body, "sha256")[:MAC_BYTES]


@dataclass(frozen=True, slots=True)
class Keyring:
    """The secrets in order of preference: the first one that a peer has is used for sending, all are accepted."""

    keys: tuple[Key, ...]

    def find(self, key_id: bytes) -> Key | None:
        """The key of that id."""
        return next((key for key in self.keys if key.id == key_id), None)

    @classmethod
    def parse(cls, text: str, path: str) -> Keyring:
        """Read a key file.

        Raises:
            ApplianceError: A line means nothing, or there are too few or too many.
        """
        keys: list[Key] = []
        for number, line in enumerate(text.splitlines(), 1):
            bare = line.partition("#")[0].strip()
            if not bare:
                continue
            key = _parse_line(bare, f"{path}, line {number}")
            if any(key.name == other.name or key.secret == other.secret for other in keys):
                raise ApplianceError(f"{path}, line {number}: {key.name!r} is there twice", hint="Remove one of them.")
            keys.append(key)
        if not keys:
            raise ApplianceError(f"{path} has no secret in it", hint=_REMEDY)
        if len(keys) > KEYS_MAX:
            raise ApplianceError(
                f"{path} has {len(keys)} secrets", hint=f"At most {KEYS_MAX} are accepted: remove the oldest ones."
            )
        return cls(tuple(keys))


def _parse_line(line: str, where: str) -> Key:
    name, equals, value = (part.strip() for part in line.partition("="))
    if not equals or not name or not value or len(name) > _NAME_MAX:
        raise ApplianceError(f"{where} is not 'name = secret'", hint=_REMEDY)
    secret = _decode(value)
    if secret is None:
        raise ApplianceError(f"{where}: the secret of {name!r} is neither hexadecimal nor base64", hint=_REMEDY)
    if len(secret) < SECRET_MIN_BYTES:
        raise ApplianceError(
            f"{where}: the secret of {name!r} has {len(secret)} bytes, {SECRET_MIN_BYTES} are needed", hint=_REMEDY
        )
    return Key(name, secret)


def _decode(value: str) -> bytes | None:
    try:
        return bytes.fromhex(value)
    except ValueError:
        pass
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
