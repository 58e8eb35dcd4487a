"""Defaults from the configuration that a node has, so that the wizard can be run again. Pure.

What is not understood is left out: the question then has the default of the example, or none. The result goes through
the same checks as if somebody had typed it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_interface
from typing import Any

from appliance.console.wizard import ports
from appliance.console.wizard.answers import NONE, VHIDS, Address, Interface, Kind, Wish
from appliance.console.wizard.interview import EXAMPLE
from appliance.console.wizard.plan import allot
from appliance.errors import UsageError

Tables = Mapping[str, Any]


def defaults_of(tables: Tables) -> dict[str, str]:
    """Answers, by the key of their question, that lead to this configuration."""
    found: dict[str, str] = {}
    node = _table(tables, "node")
    ordinal = 1 if node.get("role") == "secondary" else 0
    if isinstance(name := node.get("name"), str):
        roles = ("primary", "secondary")
        found["this"] = found[roles[ordinal]] = name
        other = roles[1 - ordinal]
        found[other] = EXAMPLE[other] if EXAMPLE[other] != name else EXAMPLE[roles[ordinal]]
    interfaces = {name: each for name, each in _table(tables, "interfaces").items() if isinstance(each, Mapping)}
    further = [name for name, each in interfaces.items() if name not in tuple(Kind) and _port(tables, each) is not None]
    if further:
        found["further"] = " ".join(further)
    for name, interface in interfaces.items():
        found |= {f"network.{name}.{key}": value for key, value in _network(tables, name, interface, ordinal)}
    if isinstance(password := _table(tables, "carp").get("password"), str):
        found["password"] = password
    return found


def left_out(tables: Tables, new: Tables) -> list[str]:
    """What the existing configuration has and the new one does not: tables, keys, and lists that are shorter."""
    found = []
    for name, table in tables.items():
        if name not in new:
            found.append(f"[{name}]")
            continue
        for key, value in table.items() if isinstance(table, Mapping) else ():
            mine = new[name].get(key)
            if mine is None:
                found.append(f"{name}.{key}")
            elif isinstance(value, list) and isinstance(mine, list) and len(value) > len(mine):
                found.append(f"{len(value) - len(mine)} of {name}.{key}")
    return found


def _network(tables: Tables, name: str, interface: Tables, ordinal: int) -> Iterator[tuple[str, str]]:
    if (port := _port(tables, interface)) is not None:
        yield "device", str(port)
        if port.is_bundle:
            yield "bundle", _protocol(tables, interface)
    gateways = dict(_gateways(tables, name, interface))
    yield from gateways.items()
    hosts = [vip for vip in _items(_table(tables, "carp").get("vip")) if vip.get("interface") == name]
    vips = [address for vip in hosts for address in _interfaces(vip.get("addresses"))]
    vhid = hosts[0].get("vhid") if hosts else None
    if type(vhid) is int and vhid in VHIDS:
        yield "vhid", str(vhid)
    own = list(_interfaces(interface.get("addresses")))
    for version in (4, 6):
        mine = next((each for each in own if each.version == version), None)
        vip = next((each for each in vips if each.version == version), None)
        if mine is not None and (vip is not None or name == Kind.SYNC):
            yield f"ipv{version}", _told(mine, vip, ordinal, gateways.get("gateway" if version == 4 else "gateway6"))
        elif own and name != Kind.SYNC:
            yield f"ipv{version}", NONE
    dhcp = _table(tables, "dhcp_failover")
    if dhcp:
        ranges = _table(_table(dhcp, "interface"), name).get("range")
        yield "dhcp", ranges[0] if isinstance(ranges, list) and ranges and isinstance(ranges[0], str) else NONE


def _port(tables: Tables, interface: Tables) -> ports.Port | None:
    """What carries an interface, as somebody would have said it."""
    vlan = _table(interface, "vlan")
    base, tag = vlan.get("parent", interface.get("device")), vlan.get("id")
    members = _table(_table(tables, "lagg"), str(base)).get("members")
    names = members if isinstance(members, list) else [base]
    if not all(isinstance(each, str) for each in names):
        return None
    text = ports.BUNDLE.join(names) + (f"{ports.VLAN}{tag}" if tag is not None else "")
    try:
        return ports.read(text)
    except UsageError:
        return None


def _protocol(tables: Tables, interface: Tables) -> str:
    base = _table(interface, "vlan").get("parent", interface.get("device"))
    found = _table(_table(tables, "lagg"), str(base)).get("protocol")
    return found if found in ports.PROTOCOLS else ports.PROTOCOLS[0]


def _told(mine: Interface, vip: Interface | None, ordinal: int, gateway: str | None) -> str:
    """The shortest answer that gives this node its own address."""
    whole = ip_interface(str(mine.network))
    router = _address(gateway)
    for wish in (whole, *((vip,) if vip is not None else ())):
        try:
            family = allot(Wish(interface=wish), has_vip=vip is not None, gateway=router)
        except UsageError:
            continue
        if family.nodes[ordinal] == mine and family.vip == vip:
            return str(wish)
    first = vip if vip is not None else whole
    try:
        near = allot(Wish(interface=first), has_vip=vip is not None, gateway=router)
    except UsageError:
        return str(first)
    others = [node for node in near.nodes if node != mine]
    nodes = (mine, others[-1]) if ordinal == 0 else (others[0], mine)
    return " ".join([str(first), *(str(node.ip) for node in nodes)])


def _address(text: str | None) -> Address | None:
    try:
        return ip_address(text or "")
    except ValueError:
        return None


def _gateways(tables: Tables, name: str, interface: Tables) -> Iterator[tuple[str, str]]:
    watched = [each for each in _table(_table(tables, "gateways"), "gateway").values() if isinstance(each, Mapping)]
    routes = [route.get("via") for route in _items(interface.get("routes")) if route.get("to") == "default"]
    routers = [each.get(key) for each in watched if each.get("interface") == name for key in ("address", "address6")]
    for router in (*routes, *routers):
        if isinstance(router, str):
            yield ("gateway6" if ":" in router else "gateway"), router


def _table(tables: Tables, name: str) -> Tables:
    found = tables.get(name)
    return found if isinstance(found, Mapping) else {}


def _items(value: object) -> list[Tables]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _interfaces(value: object) -> Iterator[Interface]:
    for text in value if isinstance(value, list) else ():
        try:
            yield ip_interface(text)
        except ValueError:
            continue
