"""The hello: who a node is, what it speaks, and its half of the handshake with each peer.

::

    0x4E 0x01  format(1) key count(1)
    boot(8) sequence(8) states(4) version min(1) max(1) features(2) name length(1) name
    entry count(1), entries of 40 bytes: boot(8) of the peer, offer(16), echo(16)
    key ids, 8 bytes each
    codes, 16 bytes each: HMAC-SHA-256 of everything before the codes, one per key id

A code for *every* secret that the sender has: whoever shares one of them can check it, so that nobody has to
agree on a moment when keys are changed. The head up to `features` never changes its shape, which is what lets
different versions find out that they differ.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from appliance_pfsync.native.header import DATAGRAM_MAX, HELLO, MAGIC, Malformed
from appliance_pfsync.native.keys import KEY_ID_BYTES, KEYS_MAX, MAC_BYTES, Keyring

FORMAT = 1
TOKEN_BYTES = 16
NO_TOKEN = bytes(TOKEN_BYTES)
NAME_MAX = 63
ENTRIES_MAX = 16
_HEAD = struct.Struct("!BBBBQQIBBHB")
_ENTRY = struct.Struct("!Q16s16s")


@dataclass(frozen=True, slots=True)
class Entry:
    """What the sender has to say to one peer."""

    boot: int
    """Of that peer: an earlier life of it must not feel addressed."""
    offer: bytes
    """The sender's random token of the session."""
    echo: bytes
    """The peer's, which proves that this hello is not a recording."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What one node says."""

    node: str
    boot: int
    """Random, new with every start."""
    sequence: int
    """Rises with every hello of one boot."""
    states: int = 0
    versions: tuple[int, int] = (1, 1)
    features: int = 0
    entries: tuple[Entry, ...] = ()

    def entry_for(self, boot: int) -> Entry | None:
        """What it says to the node of that boot."""
        return next((entry for entry in self.entries if entry.boot == boot), None)


@dataclass(frozen=True, slots=True)
class Signed:
    """A parsed hello whose codes have not been checked."""

    hello: Hello
    key_ids: tuple[bytes, ...]
    _body: bytes
    _codes: tuple[bytes, ...]

    def is_authentic(self, keyring: Keyring) -> bool:
        """Whether the code of a shared secret is right. There has to be a shared secret."""
        for key_id, code in zip(self.key_ids, self._codes, strict=True):
            key = keyring.find(key_id)
            if key is not None:
                return hmac.compare_digest(key.mac(self._body), code)
        return False

    def shares_key(self, keyring: Keyring) -> bool:
        """Whether there is a secret that both have."""
        return any(keyring.find(key_id) for key_id in self.key_ids)


def encode(hello: Hello, keyring: Keyring | None) -> bytes:
    """The datagram; without a keyring it has no codes."""
    keys = keyring.keys if keyring else ()
    name = hello.node.encode()
    if not 0 < len(name) <= NAME_MAX:
        raise ValueError(f"names in hellos have 1..{NAME_MAX} bytes: {hello.node!r}")
    head = _HEAD.pack(
        MAGIC,
        HELLO,
        FORMAT,
        len(keys),
        hello.boot,
        hello.sequence,
        min(hello.states, 0xFFFFFFFF),
        *hello.versions,
        hello.features,
        len(name),
    )
    entries = hello.entries[:ENTRIES_MAX]
    body = b"".join([
        head,
        name,
        bytes((len(entries),)),
        *(_ENTRY.pack(entry.boot, entry.offer, entry.echo) for entry in entries),
        *(key.id for key in keys),
    ])  # fmt: skip
    return body + b"".join(key.mac(body) for key in keys)


def parse(datagram: bytes) -> Signed:
    """Read a hello.

    Raises:
        Malformed: It is none.
    """
    if len(datagram) > DATAGRAM_MAX:
        raise Malformed("oversized")
    try:
        return _parse(datagram)
    except (struct.error, IndexError, UnicodeDecodeError):
        raise Malformed("malformed") from None


def _parse(datagram: bytes) -> Signed:
    magic, kind, shape, keys, boot, sequence, states, lowest, highest, features, name_size = _HEAD.unpack_from(datagram)
    if magic == MAGIC and kind == HELLO and shape != FORMAT:
        raise Malformed("badversion")
    if magic != MAGIC or kind != HELLO or keys > KEYS_MAX or not 0 < name_size <= NAME_MAX or lowest > highest:
        raise Malformed("malformed")
    at = _HEAD.size
    name = datagram[at : at + name_size].decode()
    at += name_size
    count = datagram[at]
    at += 1
    if count > ENTRIES_MAX or not name.isprintable():
        raise Malformed("malformed")
    entries = tuple(Entry(*_ENTRY.unpack_from(datagram, at + place * _ENTRY.size)) for place in range(count))
    at += count * _ENTRY.size
    end = at + keys * KEY_ID_BYTES
    if len(datagram) != end + keys * MAC_BYTES:
        raise Malformed("malformed")
    hello = Hello(
        node=name,
        boot=boot,
        sequence=sequence,
        states=states,
        versions=(lowest, highest),
        features=features,
        entries=entries,
    )
    return Signed(
        hello,
        tuple(_slices(datagram, range(at, end, KEY_ID_BYTES), KEY_ID_BYTES)),
        datagram[:end],
        tuple(_slices(datagram, range(end, len(datagram), MAC_BYTES), MAC_BYTES)),
    )


def _slices(data: bytes, starts: Iterable[int], size: int) -> Iterable[bytes]:
    return (data[start : start + size] for start in starts)
