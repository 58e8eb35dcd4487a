"""Keys from a pairing secret: HKDF-SHA256 (RFC 5869), a separate one for each purpose.

A key gives nothing away about the secret or about another key. The salt and the purposes are part of the protocol:
changing them means that old and new nodes do not understand each other.
"""

from __future__ import annotations

from typing import Literal, get_args

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

Purpose = Literal["carp-password", "carp-hello", "pfsync"]
"""What a key is for; no key serves two purposes."""

SECRET_BYTES = 32
"""Size of a pairing secret."""
KEY_BYTES = 32
"""Size of a derived key."""
ID_BYTES = 8
CONTEXT_MAX = 1024
"""Bytes of a context: an interface name and a number, usually."""
CARP_PASSWORD_CHARACTERS = 19
"""What FreeBSD and ucarp tell apart. With 32 letters: 95 bits."""

_SALT = b"ha-appliance identity 1"
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_LETTER_BITS = 5


def key_for(secret: bytes, purpose: Purpose, context: bytes) -> bytes:
    """Derive a key of 32 bytes.

    Args:
        secret: A pairing secret, 32 bytes.
        purpose: What the key is for.
        context: What tells several keys of this purpose apart; may be empty, at most 1024 bytes.

    Raises:
        ValueError: A programming error: a secret of another size, an unknown purpose, too long a context.
    """
    if purpose not in get_args(Purpose):
        raise ValueError(f"there is no purpose {purpose!r}")
    if len(context) > CONTEXT_MAX:
        raise ValueError(f"a context has at most {CONTEXT_MAX} bytes, not {len(context)}")
    # A purpose contains no NUL, so purpose and context cannot be cut differently.
    return _hkdf(secret, purpose.encode() + b"\0" + context, KEY_BYTES)


def carp_password(secret: bytes, context: bytes) -> str:
    """Derive a CARP password: 19 lower-case letters and digits, 95 bits.

    Args:
        secret: A pairing secret, 32 bytes.
        context: The virtual host it is for, such as ``b"wan 1"``.

    Raises:
        ValueError: As `key_for`.
    """
    number = int.from_bytes(key_for(secret, "carp-password", context), "big")
    letters = []
    for _ in range(CARP_PASSWORD_CHARACTERS):
        number, letter = divmod(number, 1 << _LETTER_BITS)
        letters.append(_LETTERS[letter])
    return "".join(letters)


def secret_id(secret: bytes) -> str:
    """Name a pairing secret, as 16 hexadecimal digits that say nothing about it.

    Raises:
        ValueError: The secret does not have 32 bytes.
    """
    return _hkdf(secret, b"id\0", ID_BYTES).hex()


def _hkdf(secret: bytes, info: bytes, size: int) -> bytes:
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a pairing secret has {SECRET_BYTES} bytes, not {len(secret)}")
    return HKDF(algorithm=hashes.SHA256(), length=size, salt=_SALT, info=info).derive(secret)
