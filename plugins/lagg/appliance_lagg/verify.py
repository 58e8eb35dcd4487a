"""What ``[lagg]`` must satisfy beyond its own models, in the light of the whole configuration.

Pure. Each rule is one function with a message of its own; the path names the offending key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from appliance.config import Config, LogicalInterface, ProvidesInterfaces
from appliance.errors import Problem
from appliance_lagg.config import DEFAULT_RATE, LaggConfig, LaggTable

Path = tuple[str | int, ...]
Interfaces = Mapping[str, LogicalInterface]


def verify(config: Config, old: Config | None) -> list[Problem]:
    """Every problem of the table."""
    table = config[LaggConfig]
    provider = config.providing(ProvidesInterfaces)
    interfaces = provider.logical_interfaces() if provider is not None else {}
    problems = [*_members(table), *_used_elsewhere(table, interfaces), *_names(table, interfaces)]
    for name, lagg in table.root.items():
        problems += [*_count(lagg, name), *_primary(lagg, name), *_mtu(lagg, name, interfaces), *_rx(lagg, name)]
    return [*problems, *_outages(table, old)]


def _members(table: LaggConfig) -> Iterator[Problem]:
    first: dict[str, tuple[str, Path]] = {}
    for name, lagg in table.root.items():
        for index, member in enumerate(lagg.members):
            path: Path = ("lagg", name, "members", index)
            if member in table.root:
                message = f"{member} is an aggregation itself; aggregations have no aggregations in them"
                yield Problem(path=path, message=message, also=(("lagg", member),))
                continue
            other, where = first.setdefault(member, (name, path))
            if where != path:
                message = f"{member} already is a member of {other}; a device can be in one aggregation, once"
                yield Problem(path=path, message=message, also=(where,))


def _used_elsewhere(table: LaggConfig, interfaces: Interfaces) -> Iterator[Problem]:
    for name, lagg in table.root.items():
        for index, member in enumerate(lagg.members):
            if member in table.root:
                continue
            for interface in interfaces.values():
                used = {"device": interface.device, "vlan": interface.parent}
                for key, device in used.items():
                    if device != member:
                        continue
                    what = f"carries {interface.name}" if key == "device" else f"carries the VLAN of {interface.name}"
                    message = (
                        f"{member} {what} already; a member belongs to the aggregation alone: "
                        f"give the interface the device {name}"
                    )
                    also: Path = ("interfaces", interface.name, key)
                    yield Problem(path=("lagg", name, "members", index), message=message, also=(also,))


def _names(table: LaggConfig, interfaces: Interfaces) -> Iterator[Problem]:
    for name in table.root:
        using = [each for each in interfaces.values() if name in (each.device, each.parent)]
        made = [each for each in using if each.device == name and each.parent]
        for interface in made:
            message = f"{name} is the VLAN of {interface.name} already; give the aggregation another name"
            yield Problem(path=("lagg", name), message=message, also=(("interfaces", interface.name, "device"),))
        if not using:
            message = f'no interface uses {name}: give one device = "{name}", or vlan = {{ parent = "{name}", id = … }}'
            yield Problem(path=("lagg", name), message=message, severity="warning")


def _count(lagg: LaggTable, name: str) -> Iterator[Problem]:
    path: Path = ("lagg", name, "members")
    if not lagg.members and lagg.protocol != "none":
        yield Problem(path=path, message=f'an aggregation needs members = ["…", "…"]; {name} has none')
    elif len(lagg.members) == 1 and lagg.protocol != "none":
        message = f"{name} has one member: when that loses its link, nothing stands in for it"
        yield Problem(path=path, message=message, severity="warning")


def _primary(lagg: LaggTable, name: str) -> Iterator[Problem]:
    if lagg.primary is not None and lagg.primary not in lagg.members:
        there = ", ".join(lagg.members) or "nobody"
        message = f"{lagg.primary} is not a member of {name}; members are {there}"
        yield Problem(path=("lagg", name, "primary"), message=message, also=(("lagg", name, "members"),))


def _mtu(lagg: LaggTable, name: str, interfaces: Interfaces) -> Iterator[Problem]:
    for interface in interfaces.values():
        if lagg.mtu is None or interface.mtu is None:
            continue
        path: Path = ("interfaces", interface.name, "mtu")
        if interface.device == name and interface.mtu != lagg.mtu:
            message = f"{name} has an MTU of {lagg.mtu}, and {interface.name} on it one of {interface.mtu}: say it once"
            yield Problem(path=("lagg", name, "mtu"), message=message, also=(path,))
        elif interface.parent == name and interface.mtu > lagg.mtu:
            message = f"{interface.name} is a VLAN on {name} and has {interface.mtu}: more than {name} can carry"
            yield Problem(path=("lagg", name, "mtu"), message=message, also=(path,))


def _rx(lagg: LaggTable, name: str) -> Iterator[Problem]:
    if lagg.failover_rx == "all":
        message = "what a switch floods comes in once by each member, this node's own broadcasts among it"
        yield Problem(path=("lagg", name, "failover_rx"), message=message, severity="warning")


def _outages(table: LaggConfig, old: Config | None) -> Iterator[Problem]:
    """What the kernel changes only while a bond is down is announced before it is done."""
    before = old[LaggConfig].root if old is not None and "lagg" in old else {}
    for name, lagg in table.root.items():
        was = before.get(name)
        if was is None:
            continue
        key = _restarts(was, lagg)
        if key is not None:
            message = f"takes {name} down for a moment: the kernel changes it only then. Other changes do not"
            yield Problem(path=("lagg", name, key), message=message, severity="warning")


def _restarts(was: LaggTable, now: LaggTable) -> str | None:
    idle = {"failover", "none"}  # one mode of the kernel
    if was.protocol != now.protocol and not {was.protocol, now.protocol} <= idle:
        return "protocol"
    if now.protocol == "lacp" and (was.rate or DEFAULT_RATE) != (now.rate or DEFAULT_RATE):
        return "rate"
    return None
