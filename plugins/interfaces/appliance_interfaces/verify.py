"""What ``[interfaces]`` must satisfy beyond the model of each interface.

Pure. Each rule is one function with a message of its own; the path names the offending key.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv6Address, IPv6Interface

from appliance.errors import Problem
from appliance_interfaces.config import DEFAULT_ROUTE, InterfacesConfig, InterfaceTable, RouteTable
from appliance_interfaces.settings import WantedRoute

Path = tuple[str | int, ...]
Address = IPv4Interface | IPv6Interface

DEVICE_NAME_MAX = 15
"""IFNAMSIZ without the terminating zero."""
IPV6_MTU_MIN = 1280
"""RFC 8200 §5; below it the kernel switches IPv6 off on the device."""


def verify(config: InterfacesConfig) -> list[Problem]:
    """Every problem of the table."""
    problems = [*_devices(config), *_vlans(config), *_unique_addresses(config), *_networks(config), *_routes(config)]
    for name, table in config.root.items():
        for index, address in enumerate(table.addresses):
            problems += _usable(address, ("interfaces", name, "addresses", index))
        problems += _mtu(table, name)
        for index, route in enumerate(table.routes):
            problems += _gateway(route, table, ("interfaces", name, "routes", index))
    return problems


def _key(name: str, table: InterfaceTable) -> Path:
    return ("interfaces", name, "device" if table.device is not None else "vlan")


def _devices(config: InterfacesConfig) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for name, table in config.root.items():
        path = _key(name, table)
        if len(table.device_name.encode()) > DEVICE_NAME_MAX:
            message = (
                f"the device would be called {table.device_name}, but a name has at most {DEVICE_NAME_MAX} bytes; "
            )
            yield Problem(path=path, message=message + 'give it another one with device = "…"')
        other = first.setdefault(table.device_name, name)
        if other != name:
            message = f"the device {table.device_name} already carries {other}; an interface needs a device of its own"
            yield Problem(path=path, message=message, also=(_key(other, config.root[other]),))


def _vlans(config: InterfacesConfig) -> Iterator[Problem]:
    by_device = {table.device_name: (name, table) for name, table in reversed(config.root.items())}
    first: dict[tuple[str, int], str] = {}
    for name, table in config.root.items():
        if table.vlan is None:
            continue
        path: Path = ("interfaces", name, "vlan")
        if table.vlan.parent == table.device_name:
            message = f"the VLAN and its parent are both called {table.device_name}"
            yield Problem(path=(*path, "parent"), message=message)
            continue
        other = first.setdefault((table.vlan.parent, table.vlan.id), name)
        if other != name:
            message = f"VLAN {table.vlan.id} of {table.vlan.parent} already is {other}"
            yield Problem(path=(*path, "id"), message=message, also=(("interfaces", other, "vlan"),))
        parent_name, parent = by_device.get(table.vlan.parent, (None, None))
        if parent is None or parent_name is None:
            continue
        if parent.vlan is not None:
            message = f"the parent {table.vlan.parent} is a VLAN itself; VLANs inside VLANs are not supported"
            yield Problem(path=(*path, "parent"), message=message, also=(("interfaces", parent_name, "vlan"),))
        if table.mtu is not None and parent.mtu is not None and table.mtu > parent.mtu:
            message = f"a VLAN cannot have a larger MTU than its parent {parent_name}, which has {parent.mtu}"
            yield Problem(path=("interfaces", name, "mtu"), message=message, also=(("interfaces", parent_name, "mtu"),))


def _all_addresses(config: InterfacesConfig) -> Iterator[tuple[str, Address, Path]]:
    for name, table in config.root.items():
        for index, address in enumerate(table.addresses):
            yield name, address, ("interfaces", name, "addresses", index)


def _unique_addresses(config: InterfacesConfig) -> Iterator[Problem]:
    first: dict[object, tuple[str, Path]] = {}
    for name, address, path in _all_addresses(config):
        # The same link-local address on several links is usual.
        scope = name if address.ip.is_link_local else ""
        other, where = first.setdefault((scope, address.ip), (name, path))
        if where != path:
            yield Problem(path=path, message=f"{address.ip} already is an address of {other}", also=(where,))


def _networks(config: InterfacesConfig) -> Iterator[Problem]:
    seen: list[tuple[str, Address, Path]] = []
    for name, address, path in _all_addresses(config):
        if address.ip.is_link_local:
            continue
        for other, known, where in seen:
            if other == name or known.version != address.version:
                continue
            if address.network == known.network:
                message = f"{address.network} already is the network of {other}; a network can be on one interface only"
                yield Problem(path=path, message=message, also=(where,))
            elif address.network.overlaps(known.network):
                message = f"{address.network} overlaps with {known.network} of {other}: the smaller one wins"
                yield Problem(path=path, message=message, also=(where,), severity="warning")
        seen.append((name, address, path))


def _usable(address: Address, path: Path) -> Iterator[Problem]:
    ip, network = address.ip, address.network
    if ip.is_unspecified or ip.is_multicast or ip.is_loopback:
        kind = "the unspecified" if ip.is_unspecified else "a multicast" if ip.is_multicast else "a loopback"
        yield Problem(path=path, message=f"{ip} is {kind} address; an interface needs one of its own")
    elif network.num_addresses > 2 and ip == network.network_address:
        what = "the network address" if ip.version == 4 else "the routers' anycast address"
        message = f"{ip} is {what} of {network}; the first one for a host is {ip + 1}"
        yield Problem(path=path, message=message)
    elif ip.version == 4 and network.num_addresses > 2 and ip == network.broadcast_address:
        message = f"{ip} is the broadcast address of {network}; the last one for a host is {ip - 1}"
        yield Problem(path=path, message=message)


def _mtu(table: InterfaceTable, name: str) -> Iterator[Problem]:
    if table.mtu is not None and table.mtu < IPV6_MTU_MIN and any(a.version == 6 for a in table.addresses):
        message = f"IPv6 needs an MTU of at least {IPV6_MTU_MIN}; the kernel would switch it off"
        yield Problem(path=("interfaces", name, "mtu"), message=message)


def _gateway(route: RouteTable, table: InterfaceTable, path: Path) -> Iterator[Problem]:
    via = route.via
    if via is None:
        return
    where = (*path, "via")
    if route.to != DEFAULT_ROUTE and not isinstance(route.to, str) and route.to.version != via.version:
        yield Problem(
            path=where, message=f"an IPv{via.version} gateway cannot lead to the IPv{route.to.version} network"
        )
        return
    if any(via == address.ip for address in table.addresses):
        yield Problem(path=where, message=f"the gateway {via} is this interface's own address")
        return
    networks = [address.network for address in table.addresses if address.version == via.version]
    is_link_local = isinstance(via, IPv6Address) and via.is_link_local
    if networks and not is_link_local and not any(via in network for network in networks):
        names = ", ".join(str(network) for network in networks)
        yield Problem(path=where, message=f"the gateway {via} is not on this link: its networks are {names}")


def _routes(config: InterfacesConfig) -> Iterator[Problem]:
    first: dict[tuple[object, int], tuple[str, Path]] = {}
    for name, table in config.root.items():
        for index, route in enumerate(table.routes):
            wanted = WantedRoute.of(to=route.to, via=route.via, metric=route.metric, onlink=False)
            path: Path = ("interfaces", name, "routes", index)
            other, where = first.setdefault((wanted.to, wanted.metric), (name, path))
            if where == path:
                continue
            what = "IPv6 default route" if wanted.to.version == 6 else "default route"
            what = what if wanted.to.prefixlen == 0 else f"route to {wanted.to}"
            message = f"{other} already has a {what} with the same metric; give one of them another metric"
            yield Problem(path=path, message=message, also=(where,))
