"""The log of blocked packets: a ring of the last ones, and filters over it. Pure.

A filter is a list of words, and an entry has to match all of them:

- a protocol: ``tcp udp icmp icmp6 carp …`` or a number ``proto:47``;
- ``ipv4``, ``ipv6``;
- an address or network: source or destination is in it;
- ``:443``: source or destination port;
- ``in``, ``forward``, ``out``; ``pass``, ``block``, ``reject``;
- the name of an interface, or the id of a rule. ``on:NAME`` and ``rule:ID`` are the same without ambiguity.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import ip_network
from itertools import islice
from typing import Any

from appliance.errors import UsageError
from appliance_firewall.packets import PROTOCOLS, Packet

CAPACITY = 2000
"""Entries kept: about one megabyte, and as many as an operator can look at."""
WORDS_MAX = 16
SIMILAR_MAX = 500
"""Ids that a word which means nothing is compared with; 50,000 would take seconds."""
NUMBERS = {name: name for name in PROTOCOLS.values()} | {"vrrp": "carp", "icmpv6": "icmp6"}
"""What may be said for a protocol, and how it is called."""
DIRECTIONS = ("in", "forward", "out")
ACTIONS = ("pass", "block", "reject")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One packet that a rule logged."""

    seq: int
    """Counts the entries since the service started, from 1."""
    wall: float
    """Seconds since 1970."""
    rule: str
    """Id of the rule."""
    action: str
    """``block``, ``reject`` or ``pass``."""
    direction: str
    """``in`` (to this node), ``forward`` or ``out`` (from this node)."""
    interface: str
    """Logical name of the interface it came in at, else the device; the one it left by when it came from here."""
    out_interface: str
    """Of a forwarded packet, where it was to go; else empty."""
    packet: Packet
    suppressed: int = 0
    """Packets that were logged between the entry before and this one and are not kept: there were too many."""


Test = Callable[[Entry], bool]


class BlockLog:
    """The last entries, and how many there were in all."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._ring: deque[Entry] = deque(maxlen=capacity)
        self._missed = 0
        self.recorded = 0
        """Entries since the beginning, those that have been forgotten included: also the number of the newest."""
        self.suppressed = 0
        """Packets that were logged and not kept."""

    def __len__(self) -> int:
        return len(self._ring)

    def add(
        self, *, wall: float, rule: str, action: str, direction: str, interface: str, out_interface: str, packet: Packet
    ) -> Entry:
        """Record a packet; the oldest entry gives way when there is no room."""
        self.recorded += 1
        entry = Entry(
            seq=self.recorded, wall=wall, rule=rule, action=action, direction=direction, interface=interface,
            out_interface=out_interface, packet=packet, suppressed=self._missed,
        )  # fmt: skip
        self._missed = 0
        self._ring.append(entry)
        return entry

    def skip(self, count: int) -> None:
        """Packets that are not recorded; the next entry tells how many."""
        self._missed += count
        self.suppressed += count

    def last(self, test: Test, limit: int) -> list[Entry]:
        """The newest entries that match, oldest first."""
        newest = islice((entry for entry in reversed(self._ring) if test(entry)), limit)
        return list(newest)[::-1]

    def since(self, seq: int, test: Test, limit: int) -> list[Entry]:
        """The first entries after this number that match, oldest first."""
        # No gaps in seq: the position follows from the number.
        first = max(seq + 1 - (self.recorded - len(self._ring) + 1), 0)
        return list(islice((entry for entry in islice(self._ring, first, None) if test(entry)), limit))


def parse_filter(words: Sequence[str], *, interfaces: Collection[str], rules: Collection[str]) -> Test:
    """A test that entries pass which match all words.

    Args:
        words: As described at the top of this module.
        interfaces: Names that are known.
        rules: Ids that are known.

    Raises:
        UsageError: A word means nothing.
    """
    if len(words) > WORDS_MAX:
        raise UsageError(f"a filter of {len(words)} words is too long", hint=f"At most {WORDS_MAX}.")
    tests = [_test(word, interfaces, rules) for word in words]
    return lambda entry: all(test(entry) for test in tests)


def _test(word: str, interfaces: Collection[str], rules: Collection[str]) -> Test:
    text = word.lower()
    named = _named(word, text)
    if named is not None:
        return named
    if word in interfaces:
        return _at_interface(word)
    if word in rules:
        return lambda entry: entry.rule == word
    if text.startswith("--"):
        raise UsageError(f"{word!r} is no filter for the log", hint="Options go before the filter.")
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        known = [*interfaces, *NUMBERS, *DIRECTIONS, *ACTIONS, *islice(rules, SIMILAR_MAX)]
        near = get_close_matches(word, known, n=1)
        meant = f"Did you mean {near[0]}? " if near else ""
        raise UsageError(
            f"{word!r} is no filter for the log",
            hint=f"{meant}Use a protocol (tcp), an address, a network, :PORT, in, forward, out, block, reject, an "
            "interface or the id of a rule.",
        ) from None

    def is_within(entry: Entry) -> bool:
        ends = (entry.packet.source, entry.packet.destination)
        return any(end is not None and end.version == network.version and end in network for end in ends)

    return is_within


def _named(word: str, text: str) -> Test | None:
    """Words that mean the same whatever is configured."""
    if text in NUMBERS:
        return lambda entry: entry.packet.protocol == NUMBERS[text]
    if text.startswith("proto:"):
        number = _number(text.removeprefix("proto:"), 255, word)
        return lambda entry: entry.packet.protocol == PROTOCOLS.get(number, str(number))
    if text in ("ipv4", "ipv6"):
        return lambda entry: entry.packet.version == int(text[-1])
    if text.startswith(":") and text.count(":") == 1:
        port = _number(text[1:], 65535, word)
        return lambda entry: port in (entry.packet.source_port, entry.packet.destination_port)
    if text in DIRECTIONS:
        return lambda entry: entry.direction == text
    if text in ACTIONS:
        return lambda entry: entry.action == text
    if text.startswith("on:"):
        return _at_interface(word[3:])
    if text.startswith("rule:"):
        return lambda entry: entry.rule == word[5:]
    return None


def _at_interface(name: str) -> Test:
    return lambda entry: name in (entry.interface, entry.out_interface)


def _number(text: str, most: int, word: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > most:
        raise UsageError(f"{word!r} is no filter for the log", hint=f"A number 0..{most} is needed there.")
    return int(text)


def row(entry: Entry) -> dict[str, Any]:
    """The JSON of one entry, without its time."""
    packet = entry.packet
    return {
        "seq": entry.seq,
        "rule": entry.rule,
        "action": entry.action,
        "direction": entry.direction,
        "interface": entry.interface,
        "out_interface": entry.out_interface or None,
        "family": packet.version or None,
        "proto": packet.protocol,
        "src": str(packet.source) if packet.source is not None else None,
        "sport": packet.source_port,
        "dst": str(packet.destination) if packet.destination is not None else None,
        "dport": packet.destination_port,
        "icmp": packet.icmp,
        "flags": packet.flags,
        "length": packet.length,
        "fragment": packet.fragment,
        "malformed": packet.malformed,
        "suppressed": entry.suppressed,
    }
