"""CPace: two sides that know the same short code agree on a key, and nobody else learns anything to try codes on.

CPACE-X25519-SHA512 of draft-irtf-cfrg-cpace, the balanced exchange that the CFRG selected. The code chooses the base
point of a Diffie-Hellman exchange. An attacker in the middle has to commit to one guess in each run and then learns
only whether it was right; recordings are useless. Its test vectors are in the tests.

All operations on the curve are those of X25519, which the library does in constant time. Only the map from the code to
the point (Elligator 2, RFC 9380 section 6.7.1) is computed here, with Python's integers: their timing may say something
about a code that is used once and is void after ten minutes.
"""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

SCALAR_BYTES = 32
"""Size of the private number of one side."""
SHARE_BYTES = 32
"""Size of what one side sends."""
ISK_BYTES = 64
"""Size of the key that both sides have afterwards."""

_DSI = b"CPace255"
_HASH_BLOCK = 128
"""Input block of SHA-512: code and padding fill the first one."""
_PRIME = 2**255 - 19
_J = 486662
"""Coefficient of Curve25519: v² = u³ + J u² + u."""
_NON_SQUARE = 2


def generator(code: bytes, channel: bytes, session: bytes) -> bytes:
    """The base point that belongs to a code, as its u coordinate of 32 bytes.

    Args:
        code: What both sides know (PRS).
        channel: Who talks to whom about what (CI).
        session: Unique for each run (sid).
    """
    padding = max(0, _HASH_BLOCK - 1 - len(_lv(code)) - len(_lv(_DSI)))
    text = _lv_cat(_DSI, code, bytes(padding), channel, session)
    hashed = int.from_bytes(hashlib.sha512(text).digest()[:32], "little") & ((1 << 255) - 1)
    return _elligator2(hashed).to_bytes(32, "little")


def share(scalar: bytes, base: bytes) -> bytes:
    """What this side sends: its number times the base point.

    Args:
        scalar: 32 random bytes, used for one run only.
        base: From `generator`.
    """
    return _multiply(scalar, base)


def session_key(
    scalar: bytes, theirs: bytes, *, session: bytes, initiator: tuple[bytes, bytes], responder: tuple[bytes, bytes]
) -> bytes | None:
    """The key of this run (ISK), 64 bytes; ``None`` when the other side cheats and the run has to end.

    Args:
        scalar: The number of this side.
        theirs: The share of the other side.
        session: As for `generator`.
        initiator: Share and associated data of the side that began; both sides must see the same.
        responder: Those of the other side.
    """
    try:
        point = _multiply(scalar, theirs)
    except ValueError:  # a point of small order, or not 32 bytes: the key would be known to anybody
        return None
    transcript = _lv_cat(*initiator) + _lv_cat(*responder)
    return hashlib.sha512(_lv_cat(_DSI + b"_ISK", session, point) + transcript).digest()


def _multiply(scalar: bytes, point: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(scalar).exchange(X25519PublicKey.from_public_bytes(point))


def _elligator2(number: int) -> int:
    # The denominator is never 0: -1/2 is not a square in this field.
    first = -_J * pow(1 + _NON_SQUARE * number * number, -1, _PRIME) % _PRIME
    value = (first * first * first + _J * first * first + first) % _PRIME
    is_square = pow(value, (_PRIME - 1) // 2, _PRIME) in (0, 1)
    return first if is_square else (-first - _J) % _PRIME


def _lv_cat(*parts: bytes) -> bytes:
    return b"".join(_lv(part) for part in parts)


def _lv(data: bytes) -> bytes:
    """The data behind its length, seven bits to a byte, lowest first."""
    length, prefix = len(data), bytearray()
    while length >= 0x80:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes((*prefix, length)) + data
