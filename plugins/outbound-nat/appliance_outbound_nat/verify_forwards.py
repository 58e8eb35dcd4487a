"""What port forwards must satisfy. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from appliance.config import Address
from appliance.errors import Problem
from appliance_outbound_nat.config import OutboundNatConfig, PortForwardTable
from appliance_outbound_nat.forwards import (
    SHIFTED_MAX,
    Forward,
    parse_destination,
    parse_target,
    resolved,
)
from appliance_outbound_nat.parts import KeyPath
from appliance_outbound_nat.scene import Scene
from appliance_outbound_nat.selectors import PORT_MAX, BadValueError, known, parse_port_range, parse_selector

MANAGEMENT = (22, 443)
"""Ports by which operators reach the node."""


def verify_forwards(table: OutboundNatConfig, scene: Scene) -> list[Problem]:
    """Every problem of ``port_forward``."""
    found: list[Problem] = []
    right: list[Forward] = []
    for place, entry in enumerate(table.port_forward):
        path: KeyPath = ("outbound_nat", "port_forward", place)
        problems = _words(entry, path, scene)
        found += problems
        if problems:
            continue
        made = resolved(entry, place, "", table.reflection, scene)
        found += [*_destination(entry, made[0], path, scene), *_reflection(made[0], path, scene)]
        right += [] if entry.disabled else made
    return [*found, *_taken(right)]


def _words(entry: PortForwardTable, path: KeyPath, scene: Scene) -> list[Problem]:
    """What keeps a forward from being understood."""
    key = "interface"
    try:
        known(entry.interface, scene.interfaces, "interface")
        key = "target"
        target = parse_target(entry.target, scene)
        key = "destination"
        parse_destination(entry.destination, entry.interface, target.version, scene)
        key = "source"
        source = parse_selector(entry.source, scene)
        if target.version not in source.families:
            family = f"IPv{target.version}"
            raise BadValueError(f"{entry.source} has no {family} address, and the target is {family}")
        key = "port"
        ports = parse_port_range(entry.port, scene)
        if ports.everything:
            raise BadValueError(f'{entry.port!r} is not a port; write one such as 8080, or a range "1000-1010"')
        key = "target_port"
        _check_target_port(entry, ports.first, ports.last)
    except BadValueError as error:
        return [Problem(path=(*path, key), message=str(error))]
    return []


def _check_target_port(entry: PortForwardTable, first: int, last: int) -> None:
    if entry.target_port is None:
        return
    end = entry.target_port + last - first
    if end > PORT_MAX:
        raise BadValueError(
            f"the range {first}-{last} has {last - first + 1} ports, so inside it would end at {end}; "
            f"the last port is {PORT_MAX}"
        )
    if entry.target_port != first and last - first + 1 > SHIFTED_MAX:
        raise BadValueError(
            f"a range that leads to other ports has at most {SHIFTED_MAX} of them, {first}-{last} has "
            f"{last - first + 1}; leave target_port out to keep the numbers"
        )


def _destination(entry: PortForwardTable, made: Forward, path: KeyPath, scene: Scene) -> Iterator[Problem]:
    where = (*path, "destination")
    is_own = made.external is None or made.external in scene.own
    if is_own:
        yield Problem(
            path=where,
            severity="warning",
            message=f"{made.external or entry.destination} is this node's own address, which does not move in a "
            f"takeover: forward from a virtual host of {entry.interface}",
        )
    elif made.external is not None and not _is_answered(entry, made.external, scene):
        yield Problem(
            path=where,
            severity="warning",
            message=f"no node has {made.external} on {entry.interface}, so the router there gets no answer when it "
            "asks for it: make it an alias of a virtual host",
        )
    if made.target in scene.held:
        message = f"the target {made.target} is this node itself; let the service listen there and pass it by a rule"
        yield Problem(path=(*path, "target"), message=message)
    if entry.destination.startswith("vip:"):
        host = scene.vips[entry.destination.removeprefix("vip:")]
        if host.interface != entry.interface:
            yield Problem(
                path=where,
                severity="warning",
                message=f"virtual host {host.name!r} is on {host.interface}, not on {entry.interface}: packets to it "
                "do not come in there",
            )
    inside = any(made.external in scene.addresses(name) for name in scene.inside)
    if made.protocol == "tcp" and (is_own or inside):
        for port in MANAGEMENT:
            if made.first <= port <= made.last:
                yield Problem(
                    path=(*path, "port"),
                    severity="warning",
                    message=f"port {port} of {made.external or entry.interface} is how operators reach this node; "
                    f"{entry.interface} would reach {made.target} instead",
                )


def _is_answered(entry: PortForwardTable, external: Address, scene: Scene) -> bool:
    return entry.destination.startswith("vip:") or scene.is_answered(entry.interface, external, external)


def _reflection(made: Forward, path: KeyPath, scene: Scene) -> Iterator[Problem]:
    if not made.reflected:
        return
    if made.external is None:
        yield Problem(
            path=path,
            severity="warning",
            message=f"{made.interface} has no configured address, so clients inside cannot be led to the target: use a "
            "virtual host",
        )
    elif scene.segment_of(made.target) is None:
        yield Problem(
            path=(*path, "target"),
            severity="warning",
            message=f"{made.target} is in no network of this node: clients inside get answers only if they come back "
            "through this node",
        )


def _taken(found: Sequence[Forward]) -> Iterator[Problem]:
    """Forwards that one before takes whole. Looked for among those of the same destination, so it stays quick."""
    before: dict[tuple[object, ...], list[Forward]] = {}
    told: set[KeyPath] = set()
    for each in found:
        for key in _keys(each):
            # One port can only be taken by forwards of this port or of a range.
            ranges, alone = (*key, "ranges"), (*key, each.first)
            rivals = [*(before.get(alone, ()) if each.first == each.last else ()), *before.get(ranges, ())]
            earlier = next((one for one in rivals if _takes(one, each)), None)
            before.setdefault(alone if each.first == each.last else ranges, []).append(each)
            if earlier is not None and each.origin not in told:
                told.add(each.origin)
                yield _duplicate(earlier, each)


def _keys(each: Forward) -> list[tuple[object, ...]]:
    """Where a forward has rivals: at its interface, and among all that are reflected."""
    what = (each.protocol, each.external, each.version)
    return [(each.interface, *what), *([("", *what)] if each.reflected else [])]


def _takes(one: Forward, other: Forward) -> bool:
    same = one.source.everything or one.source == other.source
    return same and one.first <= other.first and other.last <= one.last


def _duplicate(earlier: Forward, later: Forward) -> Problem:
    ports = str(later.first) if later.first == later.last else f"{later.first}-{later.last}"
    return Problem(
        path=(*later.origin, "port"),
        message=f"{later.protocol} port {ports} of {later.external or later.interface} is already forwarded to "
        f"{earlier.target}; remove one of the two",
        also=((*earlier.origin, "port"),),
    )
