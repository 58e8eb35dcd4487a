"""Aliases: from entries as written to collapsed ranges of numbers, with all nested names resolved.

Pure. Addresses are whole numbers here, because fifty thousand of them are usual and have to be fast.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal

from appliance.config import Alias
from appliance.config.vocabulary import AddressRange

Range = tuple[int, int]
"""The first and the last number, which may be the same."""
Ranges = tuple[Range, ...]
"""Sorted, neither overlapping nor adjacent."""
Kind = Literal["hosts", "networks", "ports"]

PORT_MAX = 65535
NESTING_MAX = 32
"""Aliases in aliases in aliases."""
RANGES_MAX = 500_000
"""In all aliases together, nested ones counted wherever they are named: some 100 MB while the ruleset loads."""
NAME = re.compile(r"^[a-z][a-z0-9_]{0,30}$")
"""Addresses have a dot or a colon, so no name can be taken for one."""
KEYWORDS = frozenset({"any", "self", "net", "address", "vip"})
"""Mean something else where an alias may stand."""
BITS = {4: 32, 6: 128}
ALL_4 = (1 << 32) - 1
_OCTET = "(0|[1-9][0-9]{0,2})"
_USUAL = re.compile(rf"{_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET}(?:/([12]?[0-9]|3[0-2]))?")
_DIGITS_MAX = 10
"""Of a number in a rule; Python refuses to read thousands of them."""


class EntryError(ValueError):
    """An entry that says nothing; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """The contents of an alias."""

    kind: Kind
    v4: Ranges = ()
    v6: Ranges = ()
    ports: Ranges = ()

    def of(self, version: int) -> Ranges:
        """Its addresses of one family."""
        return self.v4 if version == 4 else self.v6

    @property
    def is_empty(self) -> bool:
        """Whether it matches nothing."""
        return not (self.v4 or self.v6 or self.ports)


@dataclass(frozen=True, slots=True)
class Wrong:
    """An alias that cannot be used."""

    name: str
    place: int | None
    """Index of the entry; ``None``: the alias as a whole."""
    message: str


def collapse(ranges: Iterable[Range]) -> Ranges:
    """Sorted, with what overlaps or touches made one."""
    out: list[Range] = []
    known = sorted(ranges)
    if len(known) < 2:
        return tuple(known)
    for first, last in known:
        if out and first <= out[-1][1] + 1:
            if last > out[-1][1]:
                out[-1] = (out[-1][0], last)
        else:
            out.append((first, last))
    return tuple(out)


def parse_address(text: str) -> tuple[int, Range]:
    """Family and numbers of an address, ``FIRST-LAST`` or a network.

    Raises:
        EntryError: It is none.
    """
    usual = usual_address(text)
    if usual is not None:
        return 4, usual
    try:
        if "/" in text:
            return _network(text)
        if "-" not in text:
            address = _plain(text)
            return address.version, (int(address), int(address))
        first, last = (_plain(part.strip()) for part in text.split("-", 1))
    except ValueError as error:
        if isinstance(error, EntryError):
            raise
        raise EntryError(f"{text!r} is neither an address, a range FIRST-LAST, a network nor a name") from None
    if first.version != last.version:
        raise EntryError(f"the range {text} begins with IPv{first.version} and ends with IPv{last.version}")
    if int(first) > int(last):
        raise EntryError(f"the range {text} is reversed: write {last}-{first}")
    return first.version, (int(first), int(last))


def usual_address(text: str) -> Range | None:
    """An IPv4 address or network, five times as fast as `ipaddress`; ``None``: something else, or something wrong."""
    found = _USUAL.fullmatch(text)
    if found is None:
        return None
    *octets, prefix = found.groups()
    a, b, c, d = map(int, octets)
    if a > 255 or b > 255 or c > 255 or d > 255:
        return None
    first = a << 24 | b << 16 | c << 8 | d
    hosts = ALL_4 >> int(prefix) if prefix is not None else 0
    return None if first & hosts else (first, first | hosts)


def _plain(text: str) -> IPv4Address | IPv6Address:
    if "%" in text:
        raise EntryError(f"{text}: an address in a rule has no zone; name the interface in the rule")
    return ip_address(text)


def _network(text: str) -> tuple[int, Range]:
    network = ip_network(text, strict=False)
    address = _plain(text.split("/", 1)[0])
    if address != network.network_address:
        raise EntryError(f"{text} has bits set after the prefix; its network is {network}")
    return network.version, (int(network.network_address), int(network.broadcast_address))


def parse_port(value: int | str) -> Range:
    """The first and last port of a number or ``"1000-2000"``.

    Raises:
        EntryError: It is none.
    """
    numbers = [whole_number(part.strip()) for part in str(value).split("-", 1)]
    if -1 in numbers:
        raise EntryError(f"{value!r} is neither a port, a range such as 1000-2000 nor the name of a port alias")
    if any(not 1 <= number <= PORT_MAX for number in numbers):
        raise EntryError(f"{value}: ports are 1 to {PORT_MAX}")
    if numbers[0] > numbers[-1]:
        raise EntryError(f"the port range {value} is reversed: write {numbers[1]}-{numbers[0]}")
    return numbers[0], numbers[-1]


def whole_number(text: str) -> int:
    """A number in digits, -1 when it is none."""
    return int(text) if len(text) <= _DIGITS_MAX and text.isascii() and text.isdigit() else -1


def is_network(text: str) -> bool:
    """Whether an entry is more than one address, and not written as a range of addresses."""
    return "/" in text and not text.endswith(("/32", "/128"))


@dataclass(frozen=True)
class Entries:
    """What is written in one alias; read once."""

    kind: Kind
    entries: Sequence[int | str]

    @cached_property
    def read(self) -> _Read:
        """Everything in it that is no name."""
        found: dict[int, list[Range]] = {4: [], 6: [], 0: []}
        names: list[tuple[int, str]] = []
        problems: list[tuple[int, str]] = []
        for place, entry in enumerate(self.entries):
            try:
                if isinstance(entry, str) and NAME.match(entry):
                    names.append((place, entry))
                elif self.kind == "ports":
                    found[0].append(parse_port(entry))
                else:
                    version, numbers = _address_of(entry, self.kind)
                    found[version].append(numbers)
            except EntryError as error:
                problems.append((place, str(error)))
        made = Resolved(self.kind, collapse(found[4]), collapse(found[6]), collapse(found[0]))
        return _Read(made, tuple(names), tuple(problems))

    def public(self, name: str, resolved: Resolved) -> Alias:
        """For other plugins. Made once, unless other aliases are in it."""
        return replace(self._public, name=name) if resolved is self.read.own else as_alias(name, resolved)

    @cached_property
    def _public(self) -> Alias:
        return as_alias("", self.read.own)


@dataclass(frozen=True, slots=True)
class _Read:
    """An alias without the others that it names."""

    own: Resolved
    names: tuple[tuple[int, str], ...]
    """Of other aliases, each with its place."""
    problems: tuple[tuple[int, str], ...]
    """What is wrong, with its place."""


@dataclass(slots=True)
class _Resolver:
    """One pass over all aliases; each is resolved once."""

    declared: Mapping[str, Entries]
    done: dict[str, Resolved | None] = field(default_factory=dict)
    """``None``: wrong."""
    wrong: list[Wrong] = field(default_factory=list)
    total: int = 0

    def resolve(self, name: str, path: tuple[str, ...] = ()) -> Resolved | None:
        if name in self.done:
            return self.done[name]
        kind, read = self.declared[name].kind, self.declared[name].read
        problems = {place: Wrong(name, place, message) for place, message in read.problems}
        parts = [read.own]
        is_whole = True
        for place, entry in read.names:
            try:
                inner = self._nested(entry, kind, (*path, name))
            except EntryError as error:
                problems[place] = Wrong(name, place, str(error))
                continue
            is_whole &= inner is not None
            parts += [inner] if inner is not None else []
        made = read.own if len(parts) == 1 else _together(kind, parts)
        self.total += len(made.v4) + len(made.v6) + len(made.ports)
        if not problems and self.total > RANGES_MAX:
            message = f"with this alias all aliases together have more than {RANGES_MAX} entries"
            problems[0] = Wrong(name, None, message)
        self.wrong += [problems[place] for place in sorted(problems)]
        self.done[name] = None if problems or not is_whole else made
        return self.done[name]

    def _nested(self, name: str, kind: Kind, path: tuple[str, ...]) -> Resolved | None:
        if name not in self.declared:
            raise EntryError(f"there is no alias {name!r}")
        if name in path:
            circle = " -> ".join((*path[path.index(name) :], name))
            raise EntryError(f"aliases name each other in a circle: {circle}")
        if len(path) >= NESTING_MAX:
            raise EntryError(f"aliases are nested deeper than {NESTING_MAX}")
        other = self.declared[name].kind
        if (other == "ports") != (kind == "ports"):
            raise EntryError(f"{name} is an alias of {other}, which cannot be part of one of {kind}")
        if kind == "hosts" and other == "networks":
            raise EntryError(f'{name} is an alias of networks: this one needs type = "networks" too')
        return self.resolve(name, path)


def _together(kind: Kind, parts: Sequence[Resolved]) -> Resolved:
    return Resolved(
        kind,
        collapse([each for part in parts for each in part.v4]),
        collapse([each for part in parts for each in part.v6]),
        collapse([each for part in parts for each in part.ports]),
    )


def _address_of(entry: int | str, kind: Kind) -> tuple[int, Range]:
    text = str(entry)
    if kind == "hosts" and is_network(text):
        raise EntryError(f'{text} is a network: this alias needs type = "networks"')
    return parse_address(text)


def resolve_aliases(declared: Mapping[str, Entries]) -> tuple[dict[str, Resolved], tuple[Wrong, ...]]:
    """The aliases that are right, and what is wrong with the others.

    Args:
        declared: What is written in each, by name, in file order.
    """
    resolver = _Resolver(declared)
    for name in declared:
        resolver.resolve(name)
    good = {name: resolver.done[name] for name in declared}
    return {name: each for name, each in good.items() if each is not None}, tuple(resolver.wrong)


def range_text(version: int, numbers: Range) -> str:
    """As nftables writes it: an address, a network, or ``FIRST-LAST``. Version 0 is ports."""
    first, last = numbers
    if version == 0:
        return str(first) if first == last else f"{first}-{last}"
    make = _text_4 if version == 4 else _text_6
    if first == last:
        return make(first)
    prefix = _prefix(version, numbers)
    return f"{make(first)}-{make(last)}" if prefix is None else f"{make(first)}/{prefix}"


def _text_4(number: int) -> str:
    return f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def _text_6(number: int) -> str:
    return str(IPv6Address(number))


def _prefix(version: int, numbers: Range) -> int | None:
    """Length of the prefix when the range is one network."""
    first, last = numbers
    size = last - first + 1
    return BITS[version] - size.bit_length() + 1 if size & (size - 1) == 0 and first % size == 0 else None


def address_range(version: int, numbers: Range) -> AddressRange:
    """As the vocabulary of all plugins has it."""
    prefix = _prefix(version, numbers)
    if version == 4:
        if prefix is None:
            return IPv4Address(numbers[0]), IPv4Address(numbers[1])
        return IPv4Network((numbers[0], prefix))
    if prefix is None:
        return IPv6Address(numbers[0]), IPv6Address(numbers[1])
    return IPv6Network((numbers[0], prefix))


def as_alias(name: str, resolved: Resolved) -> Alias:
    """For other plugins."""
    if resolved.kind == "ports":
        return Alias(name=name, kind="port", ports=resolved.ports)
    pairs = [(version, numbers) for version in (4, 6) for numbers in resolved.of(version)]
    return Alias(name=name, kind="address", addresses=tuple(address_range(*pair) for pair in pairs))
