"""Port forwards: what each of them says, resolved to addresses and ports. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network

from appliance.config import Address
from appliance_outbound_nat.config import OutboundNatConfig, PortForwardTable
from appliance_outbound_nat.names import CounterNames
from appliance_outbound_nat.parts import KeyPath, Reflected
from appliance_outbound_nat.scene import Scene, Version, vip_address
from appliance_outbound_nat.selectors import (
    BadValueError,
    Selector,
    known,
    parse_port_range,
    parse_range,
    parse_selector,
)

PREFIX = "nat_port"
SHIFTED_MAX = 1000
"""Ports of a range that leads to other numbers inside: each of them is an element of a map."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """One forward of one protocol, resolved."""

    interface: str
    protocol: str
    """``tcp`` or ``udp``."""
    source: Selector
    external: Address | None
    """``None``: whatever address the node has."""
    first: int
    last: int
    target: Address
    shift: int
    """What is added to the port."""
    passes: bool
    reflected: bool
    counter: str
    origin: KeyPath

    @property
    def version(self) -> Version:
        """The family."""
        return self.target.version

    @property
    def is_plain(self) -> bool:
        """Whether a map can hold it."""
        return self.source.everything and self.external is not None and (self.first == self.last or self.shift != 0)

    def collides(self, other: Forward) -> bool:
        """Whether one packet can match both, apart from its source."""
        mine, others = (self.interface, self.protocol, self.version), (other.interface, other.protocol, other.version)
        same = self.external is None or other.external is None or self.external == other.external
        return mine == others and same and self.first <= other.last and other.first <= self.last


def parse_target(text: str, scene: Scene) -> Address:
    """The machine inside.

    Raises:
        BadValueError: It is not exactly one address.
    """
    alias = scene.aliases.get(text)
    if alias is not None:
        if alias.kind != "address":
            raise BadValueError(f"alias {text!r} holds ports, and an address is needed here")
        ranges = alias.addresses
        if len(ranges) != 1:
            raise BadValueError(f"alias {text!r} holds {len(ranges)} addresses or networks; a target is one address")
        found = ranges[0]
    else:
        found = parse_range(text, scene)
    first, last = found if isinstance(found, tuple) else (found.network_address, found.broadcast_address)
    if first != last:
        raise BadValueError(f"{text!r} is more than one address; a target is one address")
    return first


def parse_destination(text: str, interface: str, version: Version, scene: Scene) -> Address | None:
    """The address outside; ``None`` when only the kernel knows it.

    Raises:
        BadValueError: It names nothing that exists, or nothing of this family.
    """
    if text == "address":
        own = scene.own_address(interface, version)
        if own is None and scene.addresses(interface):
            raise BadValueError(f"{interface} has no IPv{version} address of its own, and the target is IPv{version}")
        return own
    if text.startswith("vip:"):
        host = known(text.removeprefix("vip:"), scene.vips, "virtual host")
        address = vip_address(host, version)
        if address is None:
            raise BadValueError(
                f"virtual host {host.name!r} has no IPv{version} address, and the target is IPv{version}"
            )
        return address
    found = parse_range(text, scene)
    if isinstance(found, tuple) or found.prefixlen != found.max_prefixlen:
        raise BadValueError(f'{text!r} is more than one address; write one address, "vip:NAME" or "address"')
    if found.version != version:
        raise BadValueError(f"{text} is IPv{found.version}, and the target is IPv{version}")
    return found.network_address


def forwards(table: OutboundNatConfig, scene: Scene) -> tuple[Forward, ...]:
    """All forwards that hold, in order; one of both protocols is two of them with one counter."""
    names = CounterNames()
    return tuple(
        forward
        for place, entry in enumerate(table.port_forward)
        if not entry.disabled
        for forward in resolved(entry, place, names.name(PREFIX, entry), table.reflection, scene)
    )


def resolved(entry: PortForwardTable, place: int, counter: str, reflection: bool, scene: Scene) -> list[Forward]:
    """The forwards of one table, one of each protocol."""
    target = parse_target(entry.target, scene)
    ports = parse_port_range(entry.port, scene)
    return [
        Forward(
            interface=entry.interface,
            protocol=protocol,
            source=parse_selector(entry.source, scene),
            external=parse_destination(entry.destination, entry.interface, target.version, scene),
            first=ports.first,
            last=ports.last,
            target=target,
            shift=0 if entry.target_port is None else entry.target_port - ports.first,
            passes=entry.filter == "pass",
            reflected=reflection if entry.reflection is None else entry.reflection,
            counter=counter,
            origin=("outbound_nat", "port_forward", place),
        )
        for protocol in entry.protocol.split("/")
    ]


def reflected(found: Iterable[Forward]) -> list[Reflected]:
    """What clients inside may use."""
    return [
        Reflected(external=ip_network(each.external), target=ip_network(each.target), origin=each.origin)
        for each in found
        if each.reflected and each.external is not None
    ]
