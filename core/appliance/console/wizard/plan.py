"""From answers to the address plan of a cluster, as the handbook makes it. Pure.

The lowest usable address of a network is the virtual one, the next is the primary's, the next the secondary's. A
virtual address that was told is kept, and the nodes come after it. The VHID is the one that was told, or the last byte
of the virtual address where no other network has it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import chain, pairwise

from appliance.console.wizard.answers import VHIDS, Address, Answers, Interface, Kind, NetworkAnswer, Wish
from appliance.errors import UsageError

CLIENTS_FROM, CLIENTS_TO = 100, 199
"""Proposed for DHCP where a network has as many; otherwise its upper half."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The addresses of one family in one network."""

    vip: Interface | None
    """`None` on the sync network."""
    nodes: tuple[Interface, Interface]
    """Of the primary and the secondary."""
    gateway: Address | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedNetwork:
    """One network of the cluster."""

    name: str
    kind: Kind
    devices: tuple[str, str]
    families: tuple[Family, ...]
    vhid: int | None
    """`None` on the sync network."""
    clients: str = ""
    bundle: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPlan:
    """Everything that the two files say."""

    nodes: tuple[str, str]
    networks: tuple[PlannedNetwork, ...]
    password: str = ""

    @property
    def sync(self) -> PlannedNetwork:
        """The network between the nodes."""
        return next(network for network in self.networks if network.kind is Kind.SYNC)

    def of_kind(self, kind: Kind) -> tuple[PlannedNetwork, ...]:
        """The networks of one kind, in the order in which they were told."""
        return tuple(network for network in self.networks if network.kind is kind)


def make_plan(answers: Answers) -> ClusterPlan:
    """The plan of a cluster.

    Raises:
        UsageError: A network has too few addresses.
    """
    networks: list[PlannedNetwork] = []
    vhids: set[int] = set()
    for answer in answers.networks:
        families = tuple(
            allot(each, has_vip=answer.kind is not Kind.SYNC, gateway=_gateway(answer, each)) for each in answer.wishes
        )
        vhid = None if answer.kind is Kind.SYNC else answer.vhid or free_vhid(families, vhids)
        vhids |= {vhid} if vhid is not None else set()
        networks.append(
            PlannedNetwork(
                name=answer.name,
                kind=answer.kind,
                devices=answer.devices,
                families=families,
                vhid=vhid,
                clients=answer.clients,
                bundle=answer.bundle,
            )
        )
    return ClusterPlan(nodes=answers.nodes, networks=tuple(networks), password=answers.password)


def allot(wish: Wish, *, has_vip: bool, gateway: Address | None = None) -> Family:
    """The addresses of one family in one network.

    Args:
        wish: What was told.
        has_vip: Whether the network has a virtual address; otherwise what was told is the primary's.
        gateway: The router of the network, which has one of its addresses.

    Raises:
        UsageError: There are too few.
    """
    told = wish.interface.ip != wish.interface.network.network_address
    taken = {gateway, *wish.nodes}
    start = wish.interface.ip
    if not has_vip and not told and _usable(wish.interface) > 2:
        start += 1  # as if there were a virtual address: the nodes have the same number in every network
    chosen: list[Address] = [start] if told else []
    chosen += _free(wish.interface, start, {*taken, *chosen}, 3)
    vip = chosen.pop(0) if has_vip and chosen else None
    nodes = wish.nodes or tuple(chosen[:2])
    if len(nodes) < 2 or (has_vip and vip is None):
        needed = (3 if has_vip else 2) + (gateway is not None)
        raise UsageError(
            f"{wish.interface.network} has too few addresses",
            hint=f"The cluster needs {needed} there: a larger network.",
        )
    return Family(
        vip=_with_prefix(vip, wish.interface) if vip is not None else None,
        nodes=(_with_prefix(nodes[0], wish.interface), _with_prefix(nodes[1], wish.interface)),
        gateway=gateway,
    )


def free_vhid(families: Iterable[Family], used: Collection[int]) -> int:
    """The last byte of the first virtual address, or else the lowest VHID that is not used."""
    vips = [family.vip for family in families if family.vip is not None]
    wanted: list[int] = [vip.ip.packed[-1] for vip in vips[:1]]
    return next(vhid for vhid in chain(wanted, VHIDS) if vhid in VHIDS and vhid not in used)


def clients_range(network: Interface, taken: Sequence[Address]) -> str:
    """Addresses to propose for DHCP; empty when the network has none left."""
    first, last = _bounds(network)
    size = last - first + 1
    low = first - 1 + CLIENTS_FROM if size > CLIENTS_TO else first + size // 2
    high = first - 1 + CLIENTS_TO if size > CLIENTS_TO else last
    # The longest run without an address of the cluster.
    limits = [low - 1, *sorted(int(each) for each in taken if low <= int(each) <= high), high + 1]
    begin, end = max(
        ((before + 1, after - 1) for before, after in pairwise(limits)),
        key=lambda run: run[1] - run[0],
    )
    return f"{IPv4Address(begin)}-{IPv4Address(end)}" if begin <= end else ""


def _gateway(answer: NetworkAnswer, wish: Wish) -> Address | None:
    return next((each for each in answer.gateways if each.version == wish.interface.version), None)


def _bounds(interface: Interface) -> tuple[int, int]:
    """The first and the last usable address."""
    network = interface.network
    last: int = int(network.broadcast_address)
    return int(network.network_address) + 1, last if interface.version == 6 else last - 1


def _usable(interface: Interface) -> int:
    first, last = _bounds(interface)
    return last - first + 1


def _free(interface: Interface, start: Address, taken: set[Address | None], count: int) -> list[Address]:
    """The next free addresses after `start`, and when the network ends those before it."""
    first, last = _bounds(interface)
    kind = type(start)

    def candidates() -> Iterator[int]:
        yield from range(int(start) + 1, last + 1)
        yield from range(min(int(start), last + 1) - 1, first - 1, -1)

    found: list[Address] = []
    for number in candidates():
        if len(found) == count:
            break
        if kind(number) not in taken:
            found.append(kind(number))
    return found


def _with_prefix(address: Address, like: Interface) -> Interface:
    return type(like)(f"{address}/{like.network.prefixlen}")
