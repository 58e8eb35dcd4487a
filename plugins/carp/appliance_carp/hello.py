"""Hellos: once a second each node tells the others, authenticated, who it is and how it is.

CARP itself says nothing about a BACKUP. The hello is what lets a node know whether anybody could take over,
whether all listeners speak sub-second adverts, which addresses to probe when a node seems dead, and to which
node an advert belongs. It is sent as the payload of IP protocol 112 on the sync and on the CARP interfaces;
its first byte 0x22 is CARP version 2, type 2, and its second byte vhid 0: no BSD and no ucarp accepts that.

One hello may need several parts (255 VHIDs on 4 interfaces do not fit into one packet)::

    0x22 0x00  part parts  incarnation(8) sequence(8) demotion(2) flags(1) profile(4) len node
    interface count, then per interface:
        len name, address count, addresses (family byte, 4 or 16 bytes),
        record count, records of 12 bytes: vhid, state, advskew, families, fingerprint(8)
    HMAC-SHA256, first 16 bytes

A record whose state is 5 or 6 tells a further edition of a VHID (see `transaction`): 5 a staged one, 6 one that is
still accepted. Its advskew is the VHID in force, its vhid and fingerprint are those of the edition.

(incarnation, sequence) only ever rises: anything older is a replay. Parts of one hello carry the same pair.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import struct
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from appliance_carp.transaction import Edition
from appliance_carp.vocabulary import State, VhidKey
from appliance_carp.wire import HELLO_TYPE, Address, Malformed, hashed_addresses

HELLO_SIZE_MAX = 1400
"""Fits into any Ethernet, tunnels included."""
PARTS_MAX = 48
"""Enough for 1024 VHIDs that are all being changed; a hello that needs more is a programming error."""
NODES_MAX = 16
"""Nodes whose hellos are followed at once; clusters have two or three."""
INTERFACES_MAX = 64
ADDRESSES_MAX = 8
"""Source addresses told per interface; two are normal, one per family."""
NAME_MAX = 63

_HEAD = struct.Struct("!BBBBQQHBI")
_VHID = struct.Struct("!BBBB8s")
_MAC_SIZE = 16
_DEMOTION_MAX = 0xFFFF
_STATES = (State.INIT, State.BACKUP, State.MASTER, State.RELEASING, State.DISABLED)
_STAGED, _KEPT = len(_STATES), len(_STATES) + 1
_MARK_SIZE = 4
_ENABLED, _MAINTENANCE, _FAST, _PREEMPT = 1, 2, 4, 8


class HelloKey:
    """The [carp] password, made into a key that is useless for anything else."""

    def __init__(self, password: str | bytes) -> None:
        secret = password.encode() if isinstance(password, str) else password
        self._key = hashlib.sha256(b"ha-appliance hello" + secret).digest()

    @classmethod
    def restored(cls, text: str) -> HelloKey:
        """The key whose `text` this is; `ValueError` when it is none."""
        made = cls.__new__(cls)
        made._key = bytes.fromhex(text)
        return made

    @property
    def text(self) -> str:
        """For a file that nobody else may read."""
        return self._key.hex()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HelloKey) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def mac(self, body: bytes) -> bytes:
        """Return the authentication bytes for `body`."""
        return hmac.digest(self._key, body, "sha256")[:_MAC_SIZE]


@dataclass(frozen=True, slots=True)
class VhidStatus:
    """One VHID of the sender."""

    key: VhidKey
    state: State
    advskew: int
    """As configured, not demoted."""
    families: frozenset[int]
    fingerprint: bytes
    """`fingerprint` of what is in force: a difference is a configuration that has not arrived everywhere."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A further edition of one VHID that the sender understands."""

    key: VhidKey
    """The VHID in force."""
    edition: Edition
    staged: bool
    """It is going to be in force; else it is only still accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What one node says about itself."""

    node: str
    incarnation: int
    """Rises with every start of the node."""
    sequence: int
    """Rises with every hello; 64-bit Lamport stamp."""
    demotion: int = 0
    enabled: bool = True
    maintenance: bool = False
    fast: bool = False
    """Can speak sub-second adverts."""
    preempt: bool = False
    profile: int = 0
    """32-bit hash of what both nodes must agree on (timers, preempt)."""
    vhids: tuple[VhidStatus, ...] = ()
    offers: tuple[Offer, ...] = ()
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Own addresses per logical interface, for probing and for attributing adverts."""


def fingerprint(addresses: Iterable[Address], password: str = "", vhid: int = 0) -> bytes:
    """Return 8 bytes that two nodes agree on which have the same addresses, in whatever order, password and VHID.

    The first half is that of the addresses alone. The second is keyed with the password and gives no more away than
    the digest of an advert does.
    """
    listed = b"".join(bytes((len(one),)) + one for one in hashed_addresses(addresses))
    keyed = hmac.digest(password.encode() or b"\0", b"ha-appliance edition" + bytes((vhid,)) + listed, "sha256")
    return hashlib.sha256(listed).digest()[:_MARK_SIZE] + keyed[:_MARK_SIZE]


def same_addresses(one: bytes, other: bytes) -> bool:
    """Whether two fingerprints are of the same addresses, whatever the password and the VHID."""
    return one[:_MARK_SIZE] == other[:_MARK_SIZE]


# --- sending -----------------------------------------------------------------------------------------------


def encode(hello: Hello, key: HelloKey) -> list[bytes]:
    """Return the parts of a hello, each at most `HELLO_SIZE_MAX` bytes."""
    node = _name(hello.node)
    room = HELLO_SIZE_MAX - _HEAD.size - len(node) - 1 - _MAC_SIZE
    bodies = _pack(_blocks(hello), room)
    if len(bodies) > PARTS_MAX:
        raise ValueError(f"a hello of {len(hello.vhids)} VHIDs needs {len(bodies)} parts, at most {PARTS_MAX} are sent")
    flags = hello.enabled * _ENABLED | hello.maintenance * _MAINTENANCE | hello.fast * _FAST | hello.preempt * _PREEMPT
    packets = []
    for part, (count, body) in enumerate(bodies):
        head = _HEAD.pack(
            HELLO_TYPE,
            0,
            part,
            len(bodies),
            hello.incarnation,
            hello.sequence,
            min(max(hello.demotion, 0), _DEMOTION_MAX),
            flags,
            hello.profile & 0xFFFFFFFF,
        )
        signed = head + node + bytes((count,)) + body
        packets.append(signed + key.mac(signed))
    return packets


def _name(text: str) -> bytes:
    raw = text.encode()
    if not 0 < len(raw) <= NAME_MAX:
        raise ValueError(f"names in hellos have 1..{NAME_MAX} bytes: {text!r}")
    return bytes((len(raw),)) + raw


def _blocks(hello: Hello) -> list[tuple[bytes, list[bytes]]]:
    """Return per interface its head (name, addresses) and its VHID records."""
    blocks = []
    for interface in sorted({status.key[0] for status in hello.vhids} | set(hello.sources)):
        addresses = [ipaddress.ip_address(one) for one in hello.sources.get(interface, ())][:ADDRESSES_MAX]
        packed = b"".join(bytes((one.version,)) + one.packed for one in addresses)
        head = _name(interface) + bytes((len(addresses),)) + packed
        records = [
            _record(status)
            for status in sorted(hello.vhids, key=lambda status: status.key)
            if status.key[0] == interface
        ]
        records += [_offer(offer) for offer in hello.offers if offer.key[0] == interface]
        blocks.append((head, records))
    return blocks


def _record(status: VhidStatus) -> bytes:
    families = _family_bits(status.families)
    return _VHID.pack(status.key[1], _STATES.index(status.state), status.advskew, families, status.fingerprint)


def _offer(offer: Offer) -> bytes:
    kind = _STAGED if offer.staged else _KEPT
    return _VHID.pack(offer.edition.vhid, kind, offer.key[1], 0, offer.edition.mark)


def _family_bits(families: Iterable[int]) -> int:
    return sum({4: 1, 6: 2}[family] for family in families)


def _pack(blocks: list[tuple[bytes, list[bytes]]], room: int) -> list[tuple[int, bytes]]:
    """Distribute blocks over parts: (number of interfaces, bytes). A long block continues in the next part."""
    parts: list[tuple[int, bytes]] = []
    count, body = 0, b""
    for head, records in blocks:
        rest = list(records)
        while True:
            fits = (room - len(body) - len(head) - 1) // _VHID.size
            if fits < min(1, len(rest)) or count == INTERFACES_MAX:
                parts.append((count, body))
                count, body = 0, b""
                continue
            here, rest = rest[: min(fits, 255)], rest[min(fits, 255) :]
            body += head + bytes((len(here),)) + b"".join(here)
            count += 1
            if not rest:
                break
    parts.append((count, body))
    return parts


# --- receiving ---------------------------------------------------------------------------------------------


class Part(NamedTuple):
    """One authenticated packet; `hello` holds only what this part tells."""

    part: int
    parts: int
    hello: Hello


def parse(payload: bytes, key: HelloKey) -> Part:
    """Read one part. Nothing of it is looked at before its authentication was found right."""
    if len(payload) < _HEAD.size + 2 + _MAC_SIZE or len(payload) > HELLO_SIZE_MAX:
        raise Malformed("badlen")
    if payload[0] != HELLO_TYPE:
        raise Malformed("badver")
    signed, mac = payload[:-_MAC_SIZE], payload[-_MAC_SIZE:]
    if not hmac.compare_digest(key.mac(signed), mac):
        raise Malformed("badauth")
    try:
        return _parse_signed(signed)
    except (IndexError, UnicodeDecodeError, struct.error, ValueError) as error:
        # Signed by a node of another version, or by one that is broken.
        raise Malformed("badlen", str(error)) from None


class _Reader:
    """A cursor that never reads past the end."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise ValueError("truncated")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def byte(self) -> int:
        return self.take(1)[0]

    def name(self) -> str:
        size = self.byte()
        if not 0 < size <= NAME_MAX:
            raise ValueError("name")
        return self.take(size).decode()


def _parse_signed(signed: bytes) -> Part:
    _type, vhid, part, parts, incarnation, sequence, demotion, flags, profile = _HEAD.unpack_from(signed)
    if vhid or not 0 < parts <= PARTS_MAX or part >= parts:
        raise ValueError("part")
    reader = _Reader(signed, _HEAD.size)
    node = reader.name()
    vhids: list[VhidStatus] = []
    offers: list[Offer] = []
    sources: dict[str, tuple[str, ...]] = {}
    interfaces = reader.byte()
    if interfaces > INTERFACES_MAX:
        raise ValueError("interfaces")
    for _ in range(interfaces):
        name = reader.name()
        sources[name] = _read_addresses(reader)
        for _ in range(reader.byte()):
            number, state, advskew, families, mark = _VHID.unpack(reader.take(_VHID.size))
            if state in (_STAGED, _KEPT):
                offers.append(Offer((name, advskew), Edition(number, mark), state == _STAGED))
                continue
            present = frozenset(family for family, bit in ((4, 1), (6, 2)) if families & bit)
            vhids.append(VhidStatus((name, number), _STATES[state], advskew, present, mark))
    hello = Hello(
        node=node,
        incarnation=incarnation,
        sequence=sequence,
        demotion=demotion,
        enabled=bool(flags & _ENABLED),
        maintenance=bool(flags & _MAINTENANCE),
        fast=bool(flags & _FAST),
        preempt=bool(flags & _PREEMPT),
        profile=profile,
        vhids=tuple(vhids),
        offers=tuple(offers),
        sources=sources,
    )
    return Part(part, parts, hello)


def _read_addresses(reader: _Reader) -> tuple[str, ...]:
    count = reader.byte()
    if count > ADDRESSES_MAX:
        raise ValueError("addresses")
    texts = []
    for _ in range(count):
        family = reader.byte()
        if family not in (4, 6):
            raise ValueError("family")
        texts.append(str(ipaddress.ip_address(reader.take(4 if family == 4 else 16))))
    return tuple(texts)


class Received(NamedTuple):
    """What one packet brought."""

    node: str
    incarnation: int
    sequence: int
    hello: Hello | None
    """The whole hello, when this packet completed it; None for a part, or a copy from another interface."""


class _Progress:
    """The newest hello of one node, perhaps still incomplete."""

    __slots__ = ("order", "parts")

    def __init__(self, order: tuple[int, int]) -> None:
        self.order = order
        self.parts: dict[int, Hello] = {}


class Assembler:
    """Authenticates parts, refuses replays, puts hellos together."""

    def __init__(self, *keys: HelloKey) -> None:
        """Understand hellos under any of these keys, the preferred one first."""
        self._keys = keys
        self._nodes: OrderedDict[str, _Progress] = OrderedDict()
        self._preferred: dict[str, None] = {}

    def accept(self, keys: Iterable[HelloKey]) -> None:
        """Understand these keys from now on; nodes that spoke under another preferred one have to do so again."""
        new = tuple(keys)
        if new[:1] != self._keys[:1]:
            self._preferred.clear()
        self._keys = new

    def prefers(self, node: str) -> bool:
        """Whether a node has spoken under the preferred key, and hence understands it."""
        return node in self._preferred

    def feed(self, payload: bytes) -> Received:
        """Take one packet.

        The same hello comes over several interfaces, and under several keys while these change: each copy is an
        answer (it proves that interface), only one of them carries the hello. Raises `Malformed`: ``badauth``,
        ``replay`` for anything older than the newest hello of that node, or a length error.
        """
        key, (part, parts, hello) = self._parse(payload)
        order = (hello.incarnation, hello.sequence)
        progress = self._nodes.get(hello.node)
        if progress is None or order > progress.order:
            progress = self._nodes[hello.node] = _Progress(order)
        elif order < progress.order:
            raise Malformed("replay", hello.node)
        self._nodes.move_to_end(hello.node)
        if key is self._keys[0]:
            self._preferred[hello.node] = None
        if len(self._nodes) > NODES_MAX:
            self.forget(next(iter(self._nodes)))
        whole = None
        if part not in progress.parts:
            progress.parts[part] = hello
            if len(progress.parts) == parts:
                whole = _join(hello, progress.parts.values())
        return Received(hello.node, hello.incarnation, hello.sequence, whole)

    def _parse(self, payload: bytes) -> tuple[HelloKey, Part]:
        for key in self._keys:
            try:
                return key, parse(payload, key)
            except Malformed as error:
                if error.counter != "badauth":
                    raise
        raise Malformed("badauth")

    def forget(self, node: str) -> None:
        """Forget a node, for instance one that was removed from the cluster."""
        self._nodes.pop(node, None)
        self._preferred.pop(node, None)


def _join(newest: Hello, parts: Iterable[Hello]) -> Hello:
    vhids: dict[VhidKey, VhidStatus] = {}
    offers: dict[Offer, None] = {}
    sources: dict[str, tuple[str, ...]] = {}
    for part in parts:
        vhids.update((status.key, status) for status in part.vhids)
        offers.update(dict.fromkeys(part.offers))
        sources.update(part.sources)
    return replace(newest, vhids=tuple(vhids[key] for key in sorted(vhids)), offers=tuple(offers), sources=sources)
