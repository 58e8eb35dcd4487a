"""One session with a peer: its keys in both directions, and the window that refuses replays.

A session is named by two random tokens, one of each side, exchanged in the hellos. All keys depend on both: a
receiver only accepts what was sealed with a key that includes the token it drew itself, so recordings of
earlier sessions never fit. A token serves for one session only, hence no nonce is ever used twice.

AES-GCM and not ChaCha20-Poly1305: on processors with AES instructions it needs two thirds of the time
(1.2 and 1.8 µs for 1400 bytes); without them both are slow enough to be seen in the bench.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from appliance_pfsync.native.header import CRC_BYTES, DATA, INNER, MAGIC, OUTER, TAG_BYTES, Malformed
from appliance_pfsync.native.keys import DATA_KEY_BYTES, Keyring, hkdf

REPLAY_WINDOW = 1024
"""Counters behind the newest one that may still arrive: what a network that reorders can mix up."""
_FULL = (1 << REPLAY_WINDOW) - 1
_SESSION_BYTES = 4
_DATA_MIN = OUTER.size + INNER.size + CRC_BYTES


class ReplayWindow:
    """Which counters have been seen."""

    __slots__ = ("_seen", "_top")

    def __init__(self) -> None:
        self._top = 0
        self._seen = 0
        """Bit n: `_top` - n has been seen."""

    def is_new(self, counter: int) -> bool:
        """Whether this counter may be accepted. Ask before decrypting, `add` after."""
        behind = self._top - counter
        return behind < 0 or (behind < REPLAY_WINDOW and not self._seen >> behind & 1)

    def add(self, counter: int) -> None:
        """Remember it."""
        ahead = counter - self._top
        if ahead == 1:
            self._seen = (self._seen << 1 | 1) & _FULL
            self._top = counter
        elif ahead > 0:
            self._seen = (self._seen << ahead | 1) & _FULL if ahead < REPLAY_WINDOW else 1
            self._top = counter
        else:
            self._seen |= 1 << -ahead


class Session:
    """Seals what goes to a peer and opens what comes from it."""

    def __init__(
        self, *, own: tuple[int, bytes], peer: tuple[int, bytes], version: int, features: int, keyring: Keyring | None
    ) -> None:
        """Derive the keys.

        Args:
            own: Boot id and token of this node.
            peer: Those of the peer.
            version: The version of the protocol that both speak.
            features: The features that both have.
            keyring: All secrets; `None` for plain datagrams.
        """
        self.own_token = own[1]
        self.peer_boot, self.peer_token = peer
        self.version = version
        self.features = features
        self.is_secured = keyring is not None
        self.key_name = ""
        """The secret that sends."""
        self._own, self._peer = own, peer
        self._window = ReplayWindow()
        self._counter = 0
        self._session_id = 0
        self._key_id = b""
        self._sealer: AESGCM | None = None
        self._openers: dict[int, AESGCM | None] = {}
        self.set_keyring(keyring, ())

    def set_keyring(self, keyring: Keyring | None, known_to_peer: Iterable[bytes]) -> None:
        """Take new secrets: send with the first one that the peer has, accept all."""
        self._openers.clear()
        self._key_id = b""
        if keyring is None:
            self._session_id, _ = _derive(b"", self._own, self._peer)
            self._openers[_derive(b"", self._peer, self._own)[0]] = None
            return
        for key in keyring.keys:
            session_id, data_key = _derive(key.secret, self._peer, self._own)
            self._openers[session_id] = AESGCM(data_key)
        self.choose_key(keyring, known_to_peer)

    def choose_key(self, keyring: Keyring, known_to_peer: Iterable[bytes]) -> None:
        """Send with the first secret that the peer has; if none is known to be, with our first."""
        known = set(known_to_peer)
        key = next((key for key in keyring.keys if key.id in known), keyring.keys[0])
        if key.id != self._key_id:
            self._session_id, data_key = _derive(key.secret, self._own, self._peer)
            self._sealer, self.key_name, self._key_id = AESGCM(data_key), key.name, key.id

    @property
    def inbound_ids(self) -> tuple[int, ...]:
        """The session ids by which datagrams of this session are known."""
        return tuple(self._openers)

    def seal(self, inner: bytes) -> bytes:
        """The datagram for inner header and payload."""
        self._counter += 1
        head = OUTER.pack(MAGIC, DATA, self.version, 0, self._session_id, self._counter)
        if self._sealer is None:
            return head + inner + zlib.crc32(inner, zlib.crc32(head)).to_bytes(CRC_BYTES, "big")
        return head + self._sealer.encrypt(head[4:], inner, head)

    def open(self, datagram: bytes, session_id: int, counter: int) -> bytes:
        """Inner header and payload.

        Raises:
            Malformed: ``replayed``, ``forged``, or it is not what the peer would send.
        """
        if len(datagram) < _DATA_MIN:
            raise Malformed("malformed")
        if datagram[2] != self.version:
            raise Malformed("badversion")
        if not self._window.is_new(counter):
            raise Malformed("replayed")
        opener = self._openers[session_id]
        if opener is None:
            inner = datagram[OUTER.size : -CRC_BYTES]
            if zlib.crc32(datagram[:-CRC_BYTES]) != int.from_bytes(datagram[-CRC_BYTES:], "big"):
                raise Malformed("forged")
        else:
            if len(datagram) < OUTER.size + INNER.size + TAG_BYTES:
                raise Malformed("malformed")
            try:
                inner = opener.decrypt(datagram[4:16], datagram[16:], datagram[:16])
            except InvalidTag:
                raise Malformed("forged") from None
        self._window.add(counter)
        return inner


def _derive(secret: bytes, sender: tuple[int, bytes], receiver: tuple[int, bytes]) -> tuple[int, bytes]:
    """Session id and key of one direction."""
    salt = sender[1] + receiver[1]
    info = b"pfsync data" + sender[0].to_bytes(8, "big") + receiver[0].to_bytes(8, "big")
    if not secret:
        return int.from_bytes(hashlib.sha256(salt + info).digest()[:_SESSION_BYTES], "big"), b""
    out = hkdf(secret, salt=salt, info=info, size=DATA_KEY_BYTES + _SESSION_BYTES)
    return int.from_bytes(out[DATA_KEY_BYTES:], "big"), out[:DATA_KEY_BYTES]
