"""What the other nodes say of themselves, and what follows: who could take over, who has gone silent.

Pure bookkeeping over hellos, with ``now`` as an argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from appliance.events import PeerChanged
from appliance_carp.hello import Hello, Offer
from appliance_carp.transaction import Edition, Stance
from appliance_carp.vocabulary import PeerView, State, VhidKey

SILENT_S = 3.5
"""A peer that has missed three hellos is not counted on any more."""
FORGET_S = 3600.0
"""A peer silent for an hour is no longer shown."""
PEERS_MAX = 16
"""More nodes than any cluster has; hellos are authenticated, this only bounds a misconfiguration."""


@dataclass(slots=True)
class _Peer:
    hello: Hello
    last_heard: float
    alive: bool = True
    has_left: bool = False
    """It has bowed out and not said hello since: its heartbeat process may be gone."""
    _editions: _Editions | None = None

    @property
    def editions(self) -> _Editions:
        """What its hello says of editions; sorted only when somebody asks, which is while something changes."""
        if self._editions is None:
            self._editions = _Editions(self.hello)
        return self._editions


class _Editions:
    """The editions of a hello by virtual host."""

    def __init__(self, hello: Hello) -> None:
        self.active = {entry.key: Edition(entry.key[1], entry.fingerprint) for entry in hello.vhids}
        self.offers: dict[VhidKey, list[Offer]] = {}
        self._homes: dict[VhidKey, VhidKey] = {}
        for offer in hello.offers:
            self.offers.setdefault(offer.key, []).append(offer)
            self._homes.setdefault((offer.key[0], offer.edition.vhid), offer.key)

    def home(self, interface: str, vhids: Iterable[int]) -> VhidKey | None:
        """The VHID in force there of the virtual host that has, had or will have one of these."""
        keys = [(interface, vhid) for vhid in vhids]
        for key in keys:
            if key in self.active:
                return key
        return next((self._homes[key] for key in keys if self._homes.get(key) in self.active), None)


class PeerBook:
    """The other nodes by name."""

    def __init__(self) -> None:
        self._peers: dict[str, _Peer] = {}

    def heard(self, hello: Hello, now: float) -> bool:
        """Take a hello in; whether it says anything new (else only the time moved)."""
        known = self._peers.get(hello.node)
        if known is None and len(self._peers) >= PEERS_MAX:
            return False
        self._peers[hello.node] = _Peer(hello, now)
        return known is None or not known.alive or _substance(known.hello) != _substance(hello)

    def expire(self, now: float) -> bool:
        """Notice who has gone silent; whether anybody has."""
        gone = [peer for peer in self._peers.values() if peer.alive and now - peer.last_heard > SILENT_S]
        for peer in gone:
            peer.alive = False
        for name in [name for name, peer in self._peers.items() if now - peer.last_heard > FORGET_S]:
            del self._peers[name]
        return bool(gone)

    def died(self, name: str) -> None:
        """A probe has found this peer dead before its silence did."""
        if name in self._peers:
            self._peers[name].alive = False

    def left(self, name: str) -> None:
        """A peer has bowed out; unless it says hello again it is not to be handed anything."""
        if name in self._peers:
            self._peers[name].has_left = True

    def has_left(self, name: str) -> bool:
        """Whether a peer has bowed out and not been heard since."""
        return name in self._peers and self._peers[name].has_left

    def views(self, renamed: Mapping[VhidKey, VhidKey] | None = None) -> list[PeerView]:
        """The peers as the election sees them; `renamed` tells our keys of VHIDs that are being changed."""
        return [_view(peer, renamed or {}) for peer in self._peers.values()]

    def silent(self) -> list[str]:
        """Names of the peers that were here and are not heard any more."""
        return [name for name, peer in self._peers.items() if not peer.alive]

    def states_of(self, name: str) -> Mapping[VhidKey, State]:
        """What a peer said last of its virtual hosts."""
        return {entry.key: entry.state for entry in self._peers[name].hello.vhids} if name in self._peers else {}

    def name_of(self, source: str) -> str:
        """The node that owns a source address; empty when unknown."""
        for name, peer in self._peers.items():
            if any(source in addresses for addresses in peer.hello.sources.values()):
                return name
        return ""

    def addresses_of(self, name: str) -> Mapping[str, tuple[str, ...]]:
        """A peer's own addresses by logical interface."""
        return self._peers[name].hello.sources if name in self._peers else {}

    def names(self) -> list[str]:
        """Everybody who is not forgotten."""
        return list(self._peers)

    def stances(self, interface: str, vhids: Sequence[int]) -> list[Stance]:
        """What each peer says of the virtual host that has, had or will have these VHIDs; ours in force comes first."""
        return [
            _stance(peer, home)
            for peer in self._peers.values()
            if (home := peer.editions.home(interface, vhids)) is not None
        ]

    def fingerprint_at(self, source: str, key: VhidKey) -> bytes | None:
        """The address set that the living peer with this address has for a VHID; ``None`` when it has said nothing."""
        peer = self._peers.get(self.name_of(source))
        if peer is None or not peer.alive:
            return None
        return next((entry.fingerprint for entry in peer.hello.vhids if entry.key == key), None)

    def masters(self, key: VhidKey) -> list[str]:
        """Names of living peers that say they are MASTER of a VHID."""
        return [
            name
            for name, peer in self._peers.items()
            if peer.alive and any(entry.key == key and entry.state is State.MASTER for entry in peer.hello.vhids)
        ]

    def facts(self, own_demotion: int) -> Iterable[PeerChanged]:
        """The peers as the bus hears of them."""
        for name, peer in self._peers.items():
            view = _view(peer, {})
            healthy = view.alive and view.enabled and not view.maintenance and view.demotion <= own_demotion
            yield PeerChanged(
                peer=name, alive=view.alive, healthy=healthy, demotion=view.demotion, summary=_summary(view, peer.hello)
            )


def _substance(hello: Hello) -> object:
    state = (hello.enabled, hello.maintenance, hello.demotion, hello.fast, hello.incarnation)
    return (state, hello.vhids, hello.offers, hello.sources)


def _stance(peer: _Peer, key: VhidKey) -> Stance:
    offers = peer.editions.offers.get(key, ())
    return Stance(
        name=peer.hello.node,
        alive=peer.alive,
        active=peer.editions.active[key],
        wanted=next((offer.edition for offer in offers if offer.staged), None),
        kept=frozenset(offer.edition for offer in offers if not offer.staged),
    )


def _view(peer: _Peer, renamed: Mapping[VhidKey, VhidKey]) -> PeerView:
    hello = peer.hello
    keys = {entry.key: renamed.get(entry.key, entry.key) for entry in hello.vhids}
    return PeerView(
        name=hello.node,
        alive=peer.alive,
        enabled=hello.enabled,
        maintenance=hello.maintenance,
        demotion=hello.demotion,
        fast=hello.fast,
        serves=frozenset(keys[entry.key] for entry in hello.vhids if entry.state in (State.BACKUP, State.MASTER)),
        skews={keys[entry.key]: entry.advskew for entry in hello.vhids},
        sources=frozenset(address for addresses in hello.sources.values() for address in addresses),
    )


def _summary(view: PeerView, hello: Hello) -> str:
    if not view.alive:
        return "not heard any more"
    if not view.enabled:
        return "disabled by command"
    if view.maintenance:
        return "in maintenance"
    masters = sum(entry.state is State.MASTER for entry in hello.vhids)
    role = f"MASTER of {masters} of {len(hello.vhids)}" if masters else "BACKUP"
    return f"{role}, demotion {view.demotion}" if view.demotion else role
