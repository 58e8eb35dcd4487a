"""Passwords of users, kept as scrypt hashes: ``scrypt$15$8$1$SALT$HASH``, the last two in base64.

The three numbers are log2(N), r and p of RFC 7914. A hash from a file may ask for other costs, within limits: a
configuration must not be able to make the node compute for minutes or take its memory.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field

from appliance.errors import ApplianceError

LOG_N, R, P = 15, 8, 1
"""Costs of new hashes: 32 MiB and about 0.1 s."""
PASSWORD_MAX = 1024
"""Bytes of a password in UTF-8."""
TEXT_MAX = 256
"""Characters of a hash."""

_SALT_BYTES, _HASH_BYTES = 16, 32
_LOG_N_MIN, _LOG_N_MAX, _R_MAX, _P_MAX = 14, 17, 32, 4
_MEMORY_MAX = 64 << 20
"""Bytes for 128 * N * r."""
_MEMORY_SLACK = 1 << 20
_SALT_RANGE, _HASH_RANGE = range(8, 65), range(16, 65)
_REMEDY = "Make one with 'appliance user password'."


@dataclass(frozen=True, slots=True)
class _Hash:
    log_n: int
    r: int
    p: int
    salt: bytes
    digest: bytes = field(repr=False)

    def compute(self, password: str) -> bytes:
        # The same letters can be typed in composed and decomposed form.
        raw = unicodedata.normalize("NFC", password).encode()
        memory = (128 * self.r << self.log_n) + 128 * self.r * self.p + _MEMORY_SLACK
        return hashlib.scrypt(
            raw, salt=self.salt, n=1 << self.log_n, r=self.r, p=self.p, maxmem=memory, dklen=len(self.digest)
        )


_NOBODY = _Hash(LOG_N, R, P, bytes(_SALT_BYTES), bytes(_HASH_BYTES))


def hash_password(password: str, *, random: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """Hash a password for a configuration. Takes about 0.1 s of one CPU: call it in a thread.

    Raises:
        ApplianceError: The password is empty, too long, or not text.
    """
    problem = _password_problem(password)
    if problem:
        raise ApplianceError(problem, hint=f"Choose one of 1 to {PASSWORD_MAX} bytes.")
    salt = random(_SALT_BYTES)
    digest = _Hash(LOG_N, R, P, salt, bytes(_HASH_BYTES)).compute(password)
    return f"scrypt${LOG_N}${R}${P}${_encode(salt)}${_encode(digest)}"


def verify_password(password: str, hashed: str | None) -> bool:
    """Whether it is the password of that hash. Takes about 0.1 s of one CPU: call it in a thread.

    Args:
        password: As it was entered.
        hashed: The hash, ``None`` for a user that does not exist: that takes as long and says no.

    Raises:
        ApplianceError: The hash is malformed or asks for too much.
    """
    expected = _NOBODY if hashed is None else _parse(hashed)
    if isinstance(expected, str):
        raise ApplianceError(f"a password hash {expected}", hint=_REMEDY)
    if _password_problem(password):
        return False
    matches = hmac.compare_digest(expected.compute(password), expected.digest)
    return matches and hashed is not None


def hash_problem(text: str) -> str | None:
    """What is wrong with a hash, as ``a password hash …``; ``None`` when it can be used. Computes nothing."""
    parsed = _parse(text)
    return f"a password hash {parsed}" if isinstance(parsed, str) else None


def _password_problem(password: str) -> str | None:
    try:
        size = len(unicodedata.normalize("NFC", password).encode())
    except UnicodeEncodeError:
        return "the password is not text"
    if not size:
        return "the password is empty"
    return None if size <= PASSWORD_MAX else f"the password has more than {PASSWORD_MAX} bytes"


def _parse(text: str) -> _Hash | str:
    """The hash, or what is wrong with it."""
    parts = text.split("$") if len(text) <= TEXT_MAX else []
    if len(parts) != 6 or parts[0] != "scrypt":
        return "is not of the form scrypt$15$8$1$SALT$HASH"
    # Not int() alone: it also takes blanks, signs and digits of other scripts.
    if not all(part.isascii() and part.isdecimal() and len(part) <= 3 for part in parts[1:4]):
        return "has a cost that is not a number"
    log_n, r, p = (int(part) for part in parts[1:4])
    if not (_LOG_N_MIN <= log_n <= _LOG_N_MAX and 1 <= r <= _R_MAX and 1 <= p <= _P_MAX):
        return (
            f"asks for costs {log_n}, {r}, {p}; accepted are {_LOG_N_MIN} to {_LOG_N_MAX}, 1 to {_R_MAX}, 1 to {_P_MAX}"
        )
    if 128 * r << log_n > _MEMORY_MAX:
        return f"asks for {128 * r << log_n >> 20} MiB of memory; at most {_MEMORY_MAX >> 20} are given"
    salt, digest = _decode(parts[4]), _decode(parts[5])
    if salt is None or len(salt) not in _SALT_RANGE:
        return f"has no salt of {_SALT_RANGE.start} to {_SALT_RANGE.stop - 1} bytes in base64"
    if digest is None or len(digest) not in _HASH_RANGE:
        return f"has no hash of {_HASH_RANGE.start} to {_HASH_RANGE.stop - 1} bytes in base64"
    return _Hash(log_n, r, p, salt, digest)


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _decode(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
