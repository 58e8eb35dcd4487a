"""What we put into the 8-byte counter of an advert, and what we read out of the counters of others.

A BSD puts a constant or a counting random number there and checks nothing, so a recorded advert can be
replayed for ever (it keeps every BACKUP quiet while the master is dead). The counter is the only free field
under the digest, so we use it as a *stamp*::

    63                                24 23          16 15            0
    sequence (40 bit)                    capabilities   tag

- The sequence counts 1/512 s since 2025-01-01 UTC, but is strictly increasing and a Lamport clock: it is
  raised above every sequence heard from another own-kind node. A node that lost its clock therefore gets
  above its own old stamps as soon as it hears the others.
- The tag is a short HMAC over vhid, *source address*, sequence and capabilities. It proves nothing new (the
  digest does) but says "one of us, and sent from this address": the digest does not cover the source.

Hence a `Witness` can tell, for an advert whose digest is right:

- our own advert (echoed by a loop, or recorded and replayed): the tag fits *our* address, or we remember it;
- an own-kind peer: its tag fits its address, twice with a rising sequence (a foreign counter passes once in
  65536 times), or once when an authenticated hello has already named that address (`expect`);
- a replay from a recognised peer: the sequence is not above what was seen. The same advert with another
  source address is a replay too: its tag fits a known peer that is not the sender;
- everything else is foreign: no monotony is demanded. ucarp answers with our counter plus one; that breaks
  the tag, so ucarp is never taken for one of us, nor its answer for our own echo.
"""

from __future__ import annotations

import hmac
import ipaddress
import struct
from collections import OrderedDict, deque
from collections.abc import Container, Iterable
from enum import Enum

TICKS_PER_S = 512
EPOCH_S = 1_735_689_600
"""2025-01-01T00:00:00Z in Unix time."""
SPEAKS_FAST = 1
"""Capability bit 0: understands and may send sub-second adverts."""

SEQUENCE_MAX = (1 << 40) - 1
SEQUENCE_CEILING = SEQUENCE_MAX - (1 << 32)
"""A sequence above this (the year 2092) is never adopted: one insane clock must not use up everybody's numbers."""
REORDER_STEPS = 8
"""A network that swaps two adverts is not an attacker: so many steps back an unseen sequence is only stale."""
SENT_REMEMBERED = 64
"""Own counters kept to recognise a loop after our address changed; at 10 adverts/s this is several seconds."""
PEERS_MAX = 16
"""Sources remembered per VHID: 8 nodes with two families. More than that and the oldest is forgotten."""
OWN_SOURCES_MAX = 8
"""Prepared tags; a node has one source address per family, the rest is for address changes."""

UNSPECIFIED = frozenset(("0.0.0.0", "::"))
"""Where adverts come from when the virtual addresses are the interface's only ones."""

_DOMAIN = b"ha-appliance stamp"
_COUNTER = struct.Struct("!Q")


class Verdict(Enum):
    """What a `Witness` says about the sender of an authenticated advert."""

    OWN_KIND = "own-kind"
    FOREIGN = "foreign"
    """A BSD, ucarp, or one of us that was heard only once: treat it as BSD treats its peers."""
    REPLAY = "replay"
    STALE = "stale"
    """Overtaken by a newer advert of the same sender: ignore silently."""
    LOOP = "loop"
    """Ours."""


def wall_ticks(unix_time_s: float) -> int:
    """Convert a wall clock to sequence ticks; a clock before 2025 gives 0."""
    return min(max(0, int((unix_time_s - EPOCH_S) * TICKS_PER_S)), SEQUENCE_CEILING)


class _Tagger:
    """Tags for one vhid and one source address."""

    __slots__ = ("_prepared",)

    def __init__(self, password: bytes, vhid: int, source: str) -> None:
        packed = ipaddress.ip_address(source.partition("%")[0]).packed
        self._prepared = hmac.new(password, _DOMAIN + bytes((vhid,)) + packed, "sha1")

    def tag(self, upper: int) -> int:
        """Return the tag for the upper 48 bits of a counter."""
        mac = self._prepared.copy()
        mac.update(upper.to_bytes(6, "big"))
        return int.from_bytes(mac.digest()[:2], "big")

    def fits(self, counter: int) -> bool:
        """Whether this counter was made for our source address."""
        return self.tag(counter >> 16) == counter & 0xFFFF


def _secret(password: str | bytes) -> bytes:
    return password.encode() if isinstance(password, str) else password


class Stamper:
    """Makes the counters of one VHID."""

    def __init__(self, password: str | bytes, vhid: int, capabilities: int = 0, floor: int = 0) -> None:
        """Start above `floor`, the highest sequence a previous process is known to have used."""
        self._password = _secret(password)
        self._vhid = vhid
        self._capabilities = capabilities & 0xFF
        self._sequence = min(max(0, floor), SEQUENCE_MAX)
        self._taggers: OrderedDict[str, _Tagger] = OrderedDict()
        self._sent: deque[int] = deque(maxlen=SENT_REMEMBERED)

    @property
    def sequence(self) -> int:
        """The highest sequence used or heard; what a successor must be given as its floor."""
        return self._sequence

    def next(self, source: str, wall_ticks: int) -> int:
        """Return the counter of the next advert, which will leave from `source`."""
        self._sequence = min(max(self._sequence + 1, wall_ticks), SEQUENCE_MAX)
        upper = self._sequence << 8 | self._capabilities
        counter = upper << 16 | self._tagger(source).tag(upper)
        self._sent.append(counter)
        return counter

    def heard(self, sequence: int) -> None:
        """Rise above the sequence of another own-kind node (Lamport)."""
        if self._sequence < sequence <= SEQUENCE_CEILING:
            self._sequence = sequence

    def is_mine(self, counter: int, source: str) -> bool:
        """Whether we sent this from that address, now or in an earlier life."""
        if source in UNSPECIFIED:
            return counter in self._sent  # every node without an address sends from there
        tagger = self._taggers.get(source)
        return (tagger is not None and tagger.fits(counter)) or counter in self._sent

    def is_mine_readdressed(self, counter: int) -> bool:
        """Whether we sent this from any of our addresses."""
        return any(tagger.fits(counter) for tagger in self._taggers.values())

    def _tagger(self, source: str) -> _Tagger:
        tagger = self._taggers.get(source)
        if tagger is None:
            tagger = self._taggers[source] = _Tagger(self._password, self._vhid, source)
            if len(self._taggers) > OWN_SOURCES_MAX:
                self._taggers.popitem(last=False)
        return tagger


class _Peer:
    """What is remembered about one source address."""

    __slots__ = ("capabilities", "last", "recent", "tagger", "trusted")

    def __init__(self, tagger: _Tagger) -> None:
        self.tagger = tagger
        self.last = -1
        self.recent: deque[int] = deque(maxlen=REORDER_STEPS)
        self.capabilities = 0
        self.trusted = False


class Witness:
    """Judges who sent the adverts of one VHID. Ask it only after the digest was found right."""

    def __init__(self, password: str | bytes, vhid: int, stamper: Stamper, *, floor: int = 0) -> None:
        """Make a witness that knows nobody.

        Args:
            password: Of the VHID.
            vhid: 1..255.
            stamper: Ours for the same VHID; it is raised above what is heard.
            floor: Sequences of own-kind nodes up to here are replays, even from a source that is not known.
        """
        self._password = _secret(password)
        self._vhid = vhid
        self._stamper = stamper
        self._floor = floor
        self._peers: OrderedDict[str, _Peer] = OrderedDict()
        self._expected: frozenset[str] = frozenset()

    def expect(self, sources: Iterable[str]) -> None:
        """Name the addresses of nodes known from authenticated hellos: one good stamp is enough for these."""
        self._expected = frozenset(sources)

    def capabilities(self, source: str) -> int:
        """Return the capability bits of a recognised own-kind node, 0 for all others."""
        peer = self._peers.get(source)
        return peer.capabilities if peer is not None and peer.trusted else 0

    def judge(self, counter: int, source: str, own_sources: Container[str] = ()) -> Verdict:
        """Say who sent a counter; remembers it.

        Args:
            counter: From the advert.
            source: Source address of its IP packet.
            own_sources: Our addresses on that interface, for a process that has not yet sent anything.
        """
        if self._stamper.is_mine(counter, source):
            return Verdict.LOOP
        peer = self._peers.get(source) or _Peer(_Tagger(self._password, self._vhid, source))
        if not peer.tagger.fits(counter):
            return self._judge_strange(counter, source)
        if source in own_sources:
            return Verdict.LOOP
        self._remember(source, peer)
        sequence = counter >> 24
        if sequence <= self._floor:
            return Verdict.REPLAY
        if sequence <= peer.last:
            unseen = sequence > peer.last - REORDER_STEPS and sequence not in peer.recent
            peer.recent.append(sequence)
            return Verdict.STALE if unseen else Verdict.REPLAY
        peer.trusted = peer.trusted or peer.last >= 0 or source in self._expected
        peer.last = sequence
        peer.recent.append(sequence)
        if not peer.trusted:
            return Verdict.FOREIGN
        peer.capabilities = counter >> 16 & 0xFF
        self._stamper.heard(sequence)
        return Verdict.OWN_KIND

    def _judge_strange(self, counter: int, source: str) -> Verdict:
        """The stamp was not made for this source: a foreign counter, or somebody's stamp under a false address."""
        if self._stamper.is_mine_readdressed(counter):
            return Verdict.LOOP
        for other, peer in self._peers.items():
            if other != source and peer.trusted and peer.tagger.fits(counter):
                return Verdict.REPLAY
        return Verdict.FOREIGN

    def _remember(self, source: str, peer: _Peer) -> None:
        """Keep a source whose stamp fitted; makes room by forgetting the one that was silent longest."""
        self._peers[source] = peer
        self._peers.move_to_end(source)
        if len(self._peers) > PEERS_MAX:
            self._peers.popitem(last=False)
