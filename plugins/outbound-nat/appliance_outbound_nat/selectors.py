"""What the words of a rule select: addresses, ports and protocols, and how nftables says it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TypeVar

from appliance.config import Address
from appliance_outbound_nat.scene import BOTH, FAMILY, Network, Scene, Version, collapsed

PORT_MAX = 65535
Range = tuple[Address, Address]
T = TypeVar("T")


class BadValueError(ValueError):
    """Words that cannot be meant; the text says why and what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Addresses that a rule selects."""

    everything: bool = False
    ranges: tuple[Network | Range, ...] = ()
    """Those of an alias too."""
    alias: str = ""
    inverted: bool = False
    families: frozenset[Version] = BOTH
    """In which it can select something."""

    def match(self, side: str, version: Version) -> str:
        """As nftables says it, such as ``ip saddr 10.0.0.0/8``; empty for everything.

        Args:
            side: ``saddr`` or ``daddr``.
            version: The family.
        """
        if self.everything:
            return ""
        operator = "!= " if self.inverted else ""
        return f"{FAMILY[version]} {side} {operator}{self._value(version)}"

    def _value(self, version: Version) -> str:
        if self.alias:
            return f"@alias_{self.alias}_v{version}"
        return one_or_set(range_text(each) for each in self.ranges if version_of(each) == version)

    def covers(self, network: Network) -> bool:
        """Whether it selects every address of a network."""
        if self.everything:
            return True
        if self.inverted:
            return not any(overlap(each, network) for each in self.ranges)
        return any(
            version_of(each) == network.version
            and _ends(each)[0] <= _ends(network)[0] <= _ends(network)[1] <= _ends(each)[1]
            for each in self.ranges
        )


EVERYTHING = Selector(everything=True)


def version_of(each: Network | Range) -> Version:
    """Its family."""
    return each[0].version if isinstance(each, tuple) else each.version


def ends_of(each: Network | Range) -> Range:
    """Its first and its last address."""
    return each if isinstance(each, tuple) else (each.network_address, each.broadcast_address)


def _ends(each: Network | Range) -> tuple[int, int]:
    first, last = ends_of(each)
    return int(first), int(last)


def overlap(one: Network | Range, other: Network | Range) -> bool:
    """Whether two of them share an address."""
    if version_of(one) != version_of(other):
        return False
    (first, last), (start, end) = _ends(one), _ends(other)
    return first <= end and start <= last


def range_text(each: Network | Range) -> str:
    """As nftables writes it."""
    if isinstance(each, tuple):
        return str(each[0]) if each[0] == each[1] else f"{each[0]}-{each[1]}"
    return str(each.network_address) if each.prefixlen == each.max_prefixlen else str(each)


def one_or_set(items: Iterable[str]) -> str:
    """A value alone, or an anonymous set."""
    listed = list(items)
    return listed[0] if len(listed) == 1 else f"{{ {', '.join(listed)} }}"


def parse_selector(text: str, scene: Scene) -> Selector:
    """What a `source` or `destination` says.

    Raises:
        BadValueError: It names nothing that exists, or is nothing that may be written there.
    """
    words, inverted = text.removeprefix("!").strip(), text.startswith("!")
    if words == "any":
        if inverted:
            raise BadValueError('"!any" selects nothing: remove the rule, or write what is meant')
        return EVERYTHING
    alias = scene.aliases.get(words)
    if alias is None:
        ranges = _named(words, scene) or (parse_range(words, scene),)
        return Selector(ranges=ranges, inverted=inverted, families=frozenset(version_of(each) for each in ranges))
    if alias.kind != "address":
        raise BadValueError(f"alias {words!r} holds ports, and addresses are needed here")
    families = scene.alias_families[words]
    return Selector(ranges=alias.addresses, alias=words, inverted=inverted, families=families)


def _named(words: str, scene: Scene) -> tuple[Network, ...]:
    """``self``, ``net:IF``, ``address:IF`` and ``vip:NAME``; empty for other words."""
    kind, _, name = words.partition(":")
    if words == "self":
        found = [ip_network(each) for interface in scene.interfaces for each in scene.addresses(interface)]
    elif kind == "vip":
        host = known(name, scene.vips, "virtual host")
        found = [ip_network(each.ip) for each in (*host.addresses, *host.aliases)]
    elif kind == "net":
        known(name, scene.interfaces, "interface")
        found = list(scene.networks(name))
    elif kind == "address":
        found = [ip_network(each.ip) for each in known(name, scene.interfaces, "interface").addresses]
    else:
        return ()
    if not found:
        raise BadValueError(
            f"{words!r} selects nothing: {name or 'this node'} has no such address in its configuration"
        )
    return tuple(collapsed(found))


def known(name: str, things: Mapping[str, T], what: str) -> T:
    """The thing of this name.

    Raises:
        BadValueError: There is none; lists those that exist.
    """
    if name not in things:
        listed = ", ".join(sorted(things)) or "none"
        raise BadValueError(f"there is no {what} {name!r}; there are: {listed}")
    return things[name]


def parse_range(words: str, scene: Scene) -> Network | Range:
    """An address, a network or a range of addresses.

    Raises:
        BadValueError: It is none of these.
    """
    first, dash, last = words.partition("-")
    if dash:
        return _address_range(first.strip(), last.strip())
    try:
        return ip_network(words)
    except ValueError as error:
        if "host bits" in str(error):
            fitting = ip_network(words, strict=False)
            raise BadValueError(f"{words} is no network: write {fitting}, or the address without a prefix") from None
    if words in scene.interfaces:
        raise BadValueError(f'{words!r} is an interface: write "net:{words}" or "address:{words}"')
    if words in scene.vips:
        raise BadValueError(f'{words!r} is a virtual host: write "vip:{words}"')
    aliases = ", ".join(sorted(scene.aliases)) or "none"
    raise BadValueError(f"{words!r} is neither an address nor a network, range or alias; aliases: {aliases}")


def _address_range(first: str, last: str) -> Range:
    try:
        ends = (ip_address(first), ip_address(last))
    except ValueError:
        raise BadValueError(f"'{first}-{last}' is not a range of addresses, such as 10.0.0.1-10.0.0.9") from None
    if ends[0].version != ends[1].version:
        raise BadValueError(f"the range {first}-{last} mixes IPv4 and IPv6")
    if int(ends[0]) > int(ends[1]):
        raise BadValueError(f"the range {first}-{last} is reversed: write {last}-{first}")
    return ends


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSelector:
    """Ports that a rule selects."""

    first: int = 0
    last: int = PORT_MAX
    alias: str = ""

    @property
    def everything(self) -> bool:
        """Whether it selects every port."""
        return not self.alias and (self.first, self.last) == (0, PORT_MAX)

    @property
    def text(self) -> str:
        """``80`` or ``1000-2000``."""
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"

    def match(self, side: str) -> str:
        """As nftables says it after a match of the protocol; empty for everything.

        Args:
            side: ``sport`` or ``dport``.
        """
        if self.everything:
            return ""
        return f"th {side} @alias_{self.alias}_port" if self.alias else f"th {side} {self.text}"


def parse_ports(value: int | str, scene: Scene) -> PortSelector:
    """What a port says.

    Raises:
        BadValueError: It is no port, no range and no alias of ports.
    """
    if value == "any":
        return PortSelector()
    alias = scene.aliases.get(str(value))
    if alias is not None:
        if alias.kind != "port":
            raise BadValueError(f"alias {value!r} holds addresses, and ports are needed here")
        return PortSelector(alias=alias.name)
    first, dash, last = (part.strip() for part in str(value).partition("-"))
    ends = [first, last] if dash else [first, first]
    if not all(each.isascii() and each.isdigit() for each in ends):
        aliases = ", ".join(sorted(name for name, each in scene.aliases.items() if each.kind == "port")) or "none"
        raise BadValueError(f"{value!r} is neither a port nor a range A-B or alias of ports; aliases: {aliases}")
    low, high = int(ends[0]), int(ends[1])
    if not (1 <= low <= PORT_MAX and 1 <= high <= PORT_MAX):
        raise BadValueError(f"{value} is outside of 1 to {PORT_MAX}")
    if low > high:
        raise BadValueError(f"the range of ports {low}-{high} is reversed: write {high}-{low}")
    return PortSelector(first=low, last=high)


def parse_port_range(value: int | str, scene: Scene) -> PortSelector:
    """As `parse_ports`, for where one port or one range is needed, or nothing (``any``).

    Raises:
        BadValueError: It is none of these.
    """
    found = parse_ports(value, scene)
    if found.alias:
        raise BadValueError(f"{value!r} is an alias; one port or one range A-B is needed here")
    return found


PORT_PROTOCOLS = ("tcp", "udp", "tcp/udp", "sctp")
"""Those that have ports."""


def protocol_match(protocol: str | int, version: Version) -> str:
    """A protocol as nftables says it; empty for all."""
    if protocol == "any":
        return ""
    if protocol == "tcp/udp":
        return "meta l4proto { tcp, udp }"
    if protocol == "icmp":
        return f"meta l4proto {'icmp' if version == 4 else 'ipv6-icmp'}"
    return f"meta l4proto {protocol}"
