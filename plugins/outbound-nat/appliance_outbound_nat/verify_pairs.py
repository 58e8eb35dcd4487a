"""What one-to-one entries must satisfy. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from appliance.errors import Problem
from appliance_outbound_nat.config import OneToOneTable, OutboundNatConfig
from appliance_outbound_nat.onetoone import parse_external, parse_network
from appliance_outbound_nat.parts import KeyPath
from appliance_outbound_nat.scene import Network, Scene
from appliance_outbound_nat.selectors import BadValueError, ends_of, known, parse_selector


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    entry: OneToOneTable
    external: Network
    internal: Network
    path: KeyPath


def verify_pairs(table: OutboundNatConfig, scene: Scene) -> list[Problem]:
    """Every problem of ``one_to_one``."""
    found: list[Problem] = []
    placed: list[_Placed] = []
    for place, entry in enumerate(table.one_to_one):
        path: KeyPath = ("outbound_nat", "one_to_one", place)
        problems, good = _entry(entry, path, scene)
        found += problems
        if good is not None and not entry.disabled:
            placed.append(good)
    found += _overlapping(placed, "external", lambda each: (0, each.external))
    # One machine may have an address on each WAN, but only one on the same WAN.
    names = {name: number for number, name in enumerate(scene.interfaces)}
    return [*found, *_overlapping(placed, "internal", lambda each: (names[each.entry.interface], each.internal))]


def _entry(entry: OneToOneTable, path: KeyPath, scene: Scene) -> tuple[list[Problem], _Placed | None]:
    key = "interface"
    try:
        known(entry.interface, scene.interfaces, "interface")
        key = "internal"
        internal = parse_network(entry.internal, scene)
        key = "external"
        external = parse_external(entry.external, internal.version, scene)
        key = "destination"
        destination = parse_selector(entry.destination, scene)
    except BadValueError as error:
        return [Problem(path=(*path, key), message=str(error))], None
    problems = list(_fit(entry, external, internal, path))
    if internal.version == external.version and internal.version not in destination.families:
        message = f"{entry.destination} has no IPv{internal.version} address, and the entry is IPv{internal.version}"
        problems.append(Problem(path=(*path, "destination"), message=message))
    if problems:
        return problems, None
    return list(_own(entry, external, path, scene)), _Placed(
        entry=entry, external=external, internal=internal, path=path
    )


def _fit(entry: OneToOneTable, external: Network, internal: Network, path: KeyPath) -> Iterator[Problem]:
    also = ((*path, "internal"),)
    if external.version != internal.version:
        message = (
            f"external {entry.external} is IPv{external.version}, internal {entry.internal} is IPv{internal.version}"
        )
        yield Problem(path=(*path, "external"), message=message, also=also)
    elif external.prefixlen != internal.prefixlen:
        message = (
            f"external /{external.prefixlen} and internal /{internal.prefixlen} differ in size: each address outside "
            "needs one inside"
        )
        yield Problem(path=(*path, "external"), message=message, also=also)
    elif external.overlaps(internal):
        yield Problem(path=(*path, "external"), message="external and internal are the same addresses", also=also)


def _own(entry: OneToOneTable, external: Network, path: KeyPath, scene: Scene) -> Iterator[Problem]:
    taken = next((each for each in scene.own if each in external), None)
    if taken is not None:
        yield Problem(
            path=(*path, "external"),
            message=f"{taken} is this node's own address: everything sent to the node would go to {entry.internal}. "
            "Use a virtual host of its own",
        )
    elif not entry.external.startswith("vip:") and not scene.is_answered(entry.interface, *ends_of(external)):
        yield Problem(
            path=(*path, "external"),
            severity="warning",
            message=f"no node has all of {entry.external} on {entry.interface}, so the router there gets no answer "
            "when it asks for them: make them aliases of a virtual host",
        )
    if entry.external.startswith("vip:"):
        host = scene.vips[entry.external.removeprefix("vip:")]
        if host.interface != entry.interface:
            yield Problem(
                path=(*path, "external"),
                severity="warning",
                message=f"virtual host {host.name!r} is on {host.interface}, not on {entry.interface}: packets to it "
                "do not come in there",
            )


def _overlapping(placed: list[_Placed], key: str, part: Callable[[_Placed], tuple[int, Network]]) -> Iterator[Problem]:
    """Neighbours of the sorted entries: among networks, two overlap only when one contains the other."""
    around: list[_Placed] = []
    for each in sorted(placed, key=lambda item: _order(*part(item))):
        scope, network = part(each)
        while around and not _contains(part(around[-1]), (scope, network)):
            around.pop()
        if around:
            earlier, later = sorted((around[-1], each), key=lambda item: item.path)
            yield Problem(
                path=(*later.path, key),
                message=f"{key} {getattr(later.entry, key)} overlaps {getattr(earlier.entry, key)} of another entry",
                also=((*earlier.path, key),),
            )
        around.append(each)


def _order(scope: int, network: Network) -> tuple[int, int, int, int]:
    return scope, network.version, int(network.network_address), network.prefixlen


def _contains(one: tuple[int, Network], other: tuple[int, Network]) -> bool:
    return one[0] == other[0] and one[1].version == other[1].version and one[1].overlaps(other[1])
