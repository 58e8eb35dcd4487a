"""Public keys of SSH as they stand in a ``.pub`` file: which ones are taken, and what is wrong with the others. Pure.

The form is that of sshd(8), AUTHORIZED_KEYS FILE FORMAT, without its options; the inside is that of RFC 4253 §6.6,
RFC 5656 §3.1, RFC 8709 §4 and OpenSSH's PROTOCOL.u2f: a sequence of strings, each with its length in front.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

KEY_MAX = 4096
"""Characters: RSA with 16384 bits, the largest that OpenSSH makes, has 2800."""
RSA_BITS_MIN = 2048
"""NIST SP 800-131A; Debian's sshd would take 1024."""
_ED25519, _POINTS = 32, {"nistp256": 65, "nistp384": 97, "nistp521": 133}
_FIELDS = {
    "ssh-ed25519": 2,
    "ecdsa-sha2-nistp256": 3,
    "ecdsa-sha2-nistp384": 3,
    "ecdsa-sha2-nistp521": 3,
    "ssh-rsa": 3,
    "sk-ssh-ed25519@openssh.com": 3,
    "sk-ecdsa-sha2-nistp256@openssh.com": 4,
}
"""Types that are taken, and of how many strings each consists, its name included."""


def plain(text: str) -> str:
    """Type and key, without the comment."""
    return " ".join(text.split()[:2])


def key_problem(text: str) -> str | None:
    """What is wrong with a key and what would be right; nothing when it can be used."""
    if "PRIVATE KEY" in text:
        return "this is a private key, which nobody else should see: make a new one, and put its .pub file here"
    if not text.isprintable():
        return "a key is one line: that of the .pub file"
    words = text.split()
    if len(words) < 2 or words[0] not in _FIELDS:
        return _not_a_type(words)
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError):
        return "the key is not base64: copy the line of the .pub file again"
    fields = list(_strings(blob))
    if len(fields) != _FIELDS[words[0]] or b"".join(_packed(each) for each in fields) != blob:
        return "the key is cut off or damaged: copy the line of the .pub file again"
    if fields[0] != words[0].encode():
        return f"the key is of the type {fields[0].decode('ascii', 'replace')!r} and not {words[0]}: copy it again"
    return _wrong_inside(words[0], fields)


def _not_a_type(words: list[str]) -> str:
    known = ", ".join(_FIELDS)
    if words and words[0] in ("ssh-dss", "ssh-dsa"):
        return "DSA keys are no longer taken: make an ed25519 key with `ssh-keygen -t ed25519`"
    if any(word in _FIELDS for word in words[1:]):
        return "options in front of a key are not taken: begin with its type"
    return f"a key begins with its type ({known}), then comes the key: the line of the .pub file"


def _wrong_inside(kind: str, fields: list[bytes]) -> str | None:
    damaged = "the key is damaged: copy the line of the .pub file again"
    if kind == "ssh-rsa":
        bits = int.from_bytes(fields[2], "big").bit_length()
        return None if bits >= RSA_BITS_MIN else f"an RSA key of {bits} bits is too weak: at least {RSA_BITS_MIN}"
    if "ed25519" in kind:
        return None if len(fields[1]) == _ED25519 else damaged
    curve = fields[1].decode("ascii", "replace")
    return None if curve in kind and len(fields[2]) == _POINTS.get(curve) else damaged


def _strings(blob: bytes) -> Iterator[bytes]:
    while len(blob) >= 4:
        end = 4 + int.from_bytes(blob[:4], "big")
        if end > len(blob):
            return
        yield blob[4:end]
        blob = blob[end:]


def _packed(field: bytes) -> bytes:
    return len(field).to_bytes(4, "big") + field
