"""The peers of this node: how hellos make them, how they fall silent, return, and are replaced."""

from __future__ import annotations

import math
from collections.abc import Callable

from appliance_pfsync.native.effects import Effect, PeerDown, PeerRefused, PeerUp
from appliance_pfsync.native.greeting import PEERS_MAX, Greeter, Known, News, RefusedError
from appliance_pfsync.native.keys import Keyring
from appliance_pfsync.native.peer import Peer
from appliance_pfsync.native.session import Session

ANSWER_S = 0.05
"""Hellos that are not due come no faster than this."""
MOVED_HELLOS = 2
"""Hellos that a node of a known name at another address waits for, in case that the former one still lives."""
REFUSED_S = 300.0
"""After this a refusal is said again."""
REFUSALS_MAX = 64
_FAR = math.inf


class Circle:
    """Peers by name, and by the session ids of their datagrams."""

    def __init__(
        self, greeter: Greeter, *, hello_s: float, dead_s: float, make: Callable[[Known, Session, Peer | None], Peer]
    ) -> None:
        """Begin alone.

        Args:
            greeter: Knows everybody.
            hello_s: Seconds between hellos.
            dead_s: Seconds of silence after which a peer is down.
            make: Makes a peer of a session; the last argument is the peer whose place it takes.
        """
        self.peers: dict[str, Peer] = {}
        self.by_session: dict[int, Peer] = {}
        self.refused = 0
        self.hello_at = -_FAR
        self._greeter = greeter
        self._hello_s, self._dead_s = hello_s, dead_s
        self._make = make
        self._said_at = -_FAR
        self._refusals: dict[tuple[str, str], float] = {}

    @property
    def alive(self) -> list[Peer]:
        """Those that are heard."""
        return [peer for peer in self.peers.values() if peer.alive]

    # --- hellos --------------------------------------------------------------------------------------------

    def say(self, states: int, now: float) -> bytes:
        """This node's hello; the next one is due later."""
        self.hello_at, self._said_at = now + self._hello_s, now
        return self._greeter.hello(states)

    def say_soon(self, now: float) -> None:
        """A hello is due, unless one has just been said."""
        self.hello_at = min(self.hello_at, max(now, self._said_at + ANSWER_S))

    def hear(self, datagram: bytes, source: str, now: float) -> list[Effect]:
        """Take a hello.

        Raises:
            Malformed: It changes nothing.
        """
        try:
            known, news = self._greeter.hear(datagram, source, now)
            if news is not News.NOTHING:
                self.say_soon(now)
            if news is News.BEGIN:
                return self._begin(known, now)
        except RefusedError as refused:
            self.refused += 1
            if not refused.is_proven and any(
                source == peer.address or refused.name == peer.name for peer in self.alive
            ):
                return []  # whoever says this is not the peer that is there
            return self._refuse(refused.name or source, source, refused.why, now)
        peer = self.peers.get(known.name)
        if peer is None or peer.boot != known.boot:
            return []
        peer.states, peer.address = known.states, source
        if self._greeter.keyring is not None:
            peer.session.choose_key(self._greeter.keyring, known.key_ids)
        return self.heard(peer, now)

    def heard(self, peer: Peer, now: float) -> list[Effect]:
        """Something authentic has come from a peer."""
        peer.heard_at = now
        if peer.alive:
            return []
        peer.return_(now)
        return [PeerUp(peer.name, peer.address)]

    def silent(self, now: float) -> list[Peer]:
        """Those that have just become down."""
        silent = [peer for peer in self.peers.values() if peer.alive and now - peer.heard_at >= self._dead_s]
        for peer in silent:
            peer.fall_silent()
        return silent

    def _refuse(self, name: str, source: str, why: str, now: float) -> list[Effect]:
        said = self._refusals
        if now - said.get((name, why), -_FAR) < REFUSED_S:
            return []
        said.pop((name, why), None)
        if len(said) >= REFUSALS_MAX:
            del said[next(iter(said))]
        said[name, why] = now
        return [PeerRefused(name, source, why)]

    # --- sessions ------------------------------------------------------------------------------------------

    def _begin(self, known: Known, now: float) -> list[Effect]:
        keyring = self._greeter.keyring
        former = self.peers.get(known.name)
        known.is_joined = self._may_replace(known, former, now)
        if not known.is_joined:
            return []
        session = Session(
            own=(self._greeter.boot, known.own),
            peer=(known.boot, known.theirs),
            version=known.version,
            features=known.features,
            keyring=keyring,
        )
        if keyring is not None:
            session.choose_key(keyring, known.key_ids)
        peer = self._make(known, session, former)
        peer.states, peer.heard_at = known.states, now
        self.peers[known.name] = peer
        self._index()
        return [PeerUp(peer.name, peer.address)]

    def _may_replace(self, known: Known, former: Peer | None, now: float) -> bool:
        """Make place for a node; whether there is any yet."""
        if former is None:
            if not self._has_place():
                known.is_joined = False
                raise RefusedError(known.name, f"this node has {PEERS_MAX} peers already")
            return True
        if former.boot == known.boot:
            return True
        if former.alive:
            if former.heard_at > known.first_at:
                known.is_joined = False
                raise RefusedError(known.name, "there are two nodes of this name")
            if former.address != known.address and now - known.first_at < MOVED_HELLOS * self._hello_s:
                return False
        self._greeter.forget(former.boot)
        return True

    def _has_place(self) -> bool:
        if len(self.peers) < PEERS_MAX:
            return True
        silent = [peer for peer in self.peers.values() if not peer.alive]
        if not silent:
            return False
        oldest = min(silent, key=lambda peer: peer.heard_at)
        del self.peers[oldest.name]
        self._greeter.forget(oldest.boot)
        return True

    def _index(self) -> None:
        self.by_session = {one: peer for peer in self.peers.values() for one in peer.session.inbound_ids}
        self._greeter.pinned = frozenset(peer.boot for peer in self.peers.values())

    def set_keyring(self, keyring: Keyring | None, now: float) -> list[Effect]:
        """Take new secrets; sessions go on with them. Between secrets and none, everybody is met anew."""
        effects: list[Effect] = []
        if (keyring is None) != (self._greeter.keyring is None):
            effects += [PeerDown(peer.name, peer.address) for peer in self.alive]
            self.peers.clear()
            self._greeter.forget_all()
        self._greeter.keyring = keyring
        for peer in self.peers.values():
            peer.session.set_keyring(keyring, self._greeter.key_ids_of(peer.boot))
        self._index()
        self.say_soon(now)
        return effects

    def deadline(self) -> float:
        """When something is due."""
        return min((self.hello_at, *(peer.deadline(self._dead_s) for peer in self.peers.values())))
