"""The addresses and ports of a rule, read; words that many rules have in common are read once. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from appliance_firewall.config import RuleTable, items
from appliance_firewall.resolve import Mistake, PortSide, Side, World, read_addresses, read_ports

KEPT_MAX = 1024
"""What most rules have in common is among the first."""


@dataclass(frozen=True, slots=True)
class Sides:
    """The words of a rule, read."""

    source: Side
    destination: Side
    source_port: PortSide
    destination_port: PortSide
    wrong: Mapping[str, Sequence[Mistake]]
    """By key of the rule, only of those that are wrong."""


_NOTHING: Mapping[str, Sequence[Mistake]] = {}


class Reader:
    """Reads rules in one world: words that many of them have in common only once."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._addresses: dict[object, tuple[Side, Sequence[Mistake]]] = {}
        self._ports: dict[object, tuple[PortSide, Sequence[Mistake]]] = {}

    def sides(self, rule: RuleTable) -> Sides:
        """Addresses and ports of a rule."""
        source, wrong_source = self.addresses(rule.source)
        destination, wrong_destination = self.addresses(rule.destination)
        source_port, wrong_source_port = self.ports(rule.source_port)
        destination_port, wrong_destination_port = self.ports(rule.destination_port)
        wrong = _NOTHING
        if wrong_source or wrong_destination or wrong_source_port or wrong_destination_port:
            found = {
                "source": wrong_source,
                "destination": wrong_destination,
                "source_port": wrong_source_port,
                "destination_port": wrong_destination_port,
            }
            wrong = {key: mistakes for key, mistakes in found.items() if mistakes}
        return Sides(source, destination, source_port, destination_port, wrong)

    def addresses(self, words: str | list[str]) -> tuple[Side, Sequence[Mistake]]:
        """As `read_addresses`."""
        key = tuple(words) if isinstance(words, list) else words
        found = self._addresses.get(key)
        if found is None:
            found = read_addresses(items(words), self.world)
            if len(self._addresses) < KEPT_MAX:
                self._addresses[key] = found
        return found

    def ports(self, words: int | str | list[int | str]) -> tuple[PortSide, Sequence[Mistake]]:
        """As `read_ports`."""
        key = tuple(words) if isinstance(words, list) else words
        found = self._ports.get(key)
        if found is None:
            found = read_ports(items(words), self.world)
            if len(self._ports) < KEPT_MAX:
                self._ports[key] = found
        return found
