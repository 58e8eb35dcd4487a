"""What each kind of translation adds to the ruleset, before `ruleset` puts it at its hooks. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from appliance.plugin import Rule, Set
from appliance_outbound_nat.scene import FAMILY, Network, Version
from appliance_outbound_nat.selectors import Range, one_or_set, range_text

KeyPath = tuple[str | int, ...]
ADDRESS = {4: "ipv4_addr", 6: "ipv6_addr"}
INSIDE_DEVICES = "nat_set_inside"
"""Devices at which clients inside come in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Rules, sets and counters."""

    inward: tuple[Rule, ...] = ()
    """Destination translation."""
    outward: tuple[Rule, ...] = ()
    """Source translation."""
    passing: tuple[Rule, ...] = ()
    """Of the filter."""
    sets: tuple[Set, ...] = ()
    counters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reflected:
    """A destination outside that clients inside may use, and where it leads."""

    external: Network
    target: Network
    origin: KeyPath


def words(*parts: str) -> str:
    """The parts of a rule that are not empty."""
    return " ".join(part for part in parts if part)


def comes_in(interface: str) -> str:
    """Packets that come in by an interface, through its own device or a virtual host's."""
    return f"iifname @if_{interface}"


def counted(name: str) -> str:
    """The statement that counts."""
    return f'counter name "{name}"'


def inside_name(version: Version) -> str:
    """The set with the networks inside."""
    return f"nat_set_inside_v{version}"


def address_set(name: str, version: Version, ranges: Iterable[Network | Range]) -> Set:
    """A set of networks that do not overlap; single addresses may repeat."""
    listed = tuple(dict.fromkeys(range_text(each) for each in ranges))
    return Set(name=name, key=ADDRESS[version], flags="interval", elements=listed)


def is_(side: str, version: Version, where: Network | Range) -> str:
    """A match of one address or network: ``ip daddr 10.0.0.1``."""
    return f"{FAMILY[version]} {side} {one_or_set([range_text(where)])}"
