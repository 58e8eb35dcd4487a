"""What ``[dhcp_failover]`` must satisfy beyond its own models, in the light of the whole configuration.

Pure. Each rule is one function with a message of its own; the path names the offending key.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from appliance.config import Config, LogicalInterface
from appliance.errors import Problem
from appliance_dhcp_failover.config import (
    DhcpFailoverConfig,
    InterfaceTable,
    ends,
    home,
    is_paired,
    logical_interfaces,
    virtual_address,
    virtual_hosts,
)

Path = tuple[str | int, ...]
SIZE_MAX = 65_536
"""Addresses of one interface; all leases of a pool are held in memory."""


def verify(config: Config) -> list[Problem]:
    """Every problem of the table."""
    table = config[DhcpFailoverConfig]
    known = logical_interfaces(config)
    problems = [*_channel(config, table)]
    for name, each in table.interface.items():
        path: Path = ("dhcp_failover", "interface", name)
        if name not in known:
            there = ", ".join(sorted(known)) or "none"
            message = f"there is no interface {name!r}; [interfaces] has {there}"
            problems.append(Problem(path=path, message=message))
            continue
        problems += _interface(config, known[name], each, path)
    return problems


def _interface(config: Config, interface: LogicalInterface, table: InterfaceTable, path: Path) -> Iterator[Problem]:
    place = home(config, interface, table)
    if place is None:
        message = f"{interface.name} has no IPv4 address, neither its own nor a virtual one; give it one first"
        yield Problem(path=path, message=message)
        return
    yield from _ranges(config, interface, table, place.network, path)
    yield from _static(config, interface, table, place.network, path)
    yield from _peer(config, interface, table, place.network, path)
    yield from _gateway(config, interface, table, place.network, path)
    yield from _times(table, path)
    yield from _options(table, path)
    if not table.range and not table.static:
        message = f"{interface.name} has nothing to give: set range or static"
        yield Problem(path=path, message=message)
    if table.deny_unknown and not table.static:
        message = "with deny_unknown and without static nobody gets an address"
        yield Problem(path=(*path, "deny_unknown"), message=message)


def _taken(config: Config, interface: LogicalInterface) -> dict[IPv4Address, str]:
    """Addresses that are somebody's, with what they are."""
    found: dict[IPv4Address, str] = {}
    for host in virtual_hosts(config, interface.name):
        for each in (*host.addresses, *host.aliases):
            if isinstance(each, IPv4Interface):
                found[each.ip] = f"a virtual address of {host.name}"
    for own in interface.addresses:
        if isinstance(own, IPv4Interface):
            found[own.ip] = "this node's own address"
    return found


def _ranges(
    config: Config, interface: LogicalInterface, table: InterfaceTable, subnet: IPv4Network, path: Path
) -> Iterator[Problem]:
    taken = _taken(config, interface)
    if table.failover_peer is not None:
        taken.setdefault(table.failover_peer, "the other node's address")
    spans = [ends(text) for text in table.range]
    for number, (first, last) in enumerate(spans):
        where = (*path, "range", number)
        if first not in subnet or last not in subnet:
            message = f"the range {first}-{last} is not in {subnet}, the network of {interface.name}"
            yield Problem(path=where, message=message)
            continue
        for edge, what in ((subnet.network_address, "network"), (subnet.broadcast_address, "broadcast")):
            if first <= edge <= last and subnet.prefixlen < 31:
                yield Problem(path=where, message=f"the range has the {what} address {edge} of {subnet} in it")
        for address, what in taken.items():
            if first <= address <= last:
                yield Problem(path=where, message=f"the range has {address} in it, which is {what}")
        for other, (begin, end) in enumerate(spans[:number]):
            if first <= end and begin <= last:
                message = f"the range {first}-{last} overlaps {begin}-{end}"
                yield Problem(path=where, message=message, also=((*path, "range", other),))
    size = sum(int(last) - int(first) + 1 for first, last in spans)
    if size > SIZE_MAX:
        yield Problem(path=(*path, "range"), message=f"{size} addresses are too many: at most {SIZE_MAX} are served")


def _static(
    config: Config, interface: LogicalInterface, table: InterfaceTable, subnet: IPv4Network, path: Path
) -> Iterator[Problem]:
    taken = _taken(config, interface)
    spans = [(ends(text), text) for text in table.range]
    seen: dict[tuple[str, str], int] = {}
    for number, each in enumerate(table.static):
        where = (*path, "static", number)
        address = each.address
        if address not in subnet:
            message = f"{address} is not in {subnet}, the network of {interface.name}"
            yield Problem(path=(*where, "address"), message=message)
        elif address in (subnet.network_address, subnet.broadcast_address):
            message = f"{address} is the network or broadcast address of {subnet}"
            yield Problem(path=(*where, "address"), message=message)
        if address in taken:
            yield Problem(path=(*where, "address"), message=f"{address} is {taken[address]}")
        if address == table.failover_peer:
            yield Problem(path=(*where, "address"), message=f"{address} is the other node's address")
        for (first, last), text in spans:
            if first <= address <= last:
                message = f"{address} is in the range {text}, whose addresses are given to others; take it out of one"
                yield Problem(path=(*where, "address"), message=message, also=((*path, "range"),))
        for kind, value in (("address", str(address)), ("mac", each.mac), ("client_id", each.client_id)):
            if not value:
                continue
            other = seen.setdefault((kind, value), number)
            if other != number:
                message = f"two static mappings have the {kind.replace('_', ' ')} {value}"
                yield Problem(path=(*where, kind), message=message, also=((*path, "static", other, kind),))


def _peer(
    config: Config, interface: LogicalInterface, table: InterfaceTable, subnet: IPv4Network, path: Path
) -> Iterator[Problem]:
    where = (*path, "failover_peer")
    peer = table.failover_peer
    virtual = virtual_address(config, interface.name)
    if virtual is None:
        message = (
            f"{interface.name} has no virtual IPv4 address, so every node would answer its clients; "
            "declare one in [carp] or remove failover_peer"
        )
        if peer is not None:
            yield Problem(path=where, message=message)
        return
    address, host = virtual
    if address.network.prefixlen == 32:
        message = f"the virtual address {address} of {host.name} has no network; give it the prefix of {interface.name}"
        yield Problem(path=path, message=message)
    if peer is None:
        message = (
            f"{interface.name} has a virtual address and no failover_peer: after a takeover the other node knows no "
            "leases and may give addresses to others; set failover_peer to the other node's address here"
        )
        yield Problem(path=path, message=message, severity="warning")
        return
    taken = _taken(config, interface)
    if peer not in subnet:
        message = f"the failover peer {peer} is not in {subnet}, the network of {interface.name}"
        yield Problem(path=where, message=message)
    elif peer in taken:
        message = f"the failover peer {peer} is {taken[peer]}; it has to be the other node's own address"
        yield Problem(path=where, message=message)


def _gateway(
    config: Config, interface: LogicalInterface, table: InterfaceTable, subnet: IPv4Network, path: Path
) -> Iterator[Problem]:
    virtual = virtual_address(config, interface.name)
    own = {each.ip for each in interface.addresses if isinstance(each, IPv4Interface)}
    own |= {table.failover_peer} if table.failover_peer is not None else set()
    gateway = table.gateway
    if isinstance(gateway, IPv4Address):
        if gateway not in subnet:
            message = f"the gateway {gateway} is not in {subnet}, so clients cannot reach it"
            yield Problem(path=(*path, "gateway"), message=message)
        elif gateway in own and virtual is not None:
            message = (
                f"clients get the gateway {gateway}, which is one node's own address: after a takeover it is gone; "
                f'use gateway = "auto" ({virtual[0].ip})'
            )
            yield Problem(path=(*path, "gateway"), message=message, severity="warning")
    for number, server in enumerate(table.dns):
        if isinstance(server, IPv4Address) and server in own and virtual is not None:
            message = (
                f"clients get the name server {server}, which is one node's own address: after a takeover it is gone; "
                f'use "auto" ({virtual[0].ip})'
            )
            yield Problem(path=(*path, "dns", number), message=message, severity="warning")


def _times(table: InterfaceTable, path: Path) -> Iterator[Problem]:
    if table.max_lease_time < table.lease_time:
        message = f"max_lease_time ({table.max_lease_time} s) is less than lease_time ({table.lease_time} s)"
        yield Problem(path=(*path, "max_lease_time"), message=message, also=((*path, "lease_time"),))


def _options(table: InterfaceTable, path: Path) -> Iterator[Problem]:
    fields = {3: "gateway", 6: "dns", 15: "domain", 42: "ntp", 66: "tftp_server", 67: "boot_file"}
    seen: dict[int, int] = {}
    for number, option in enumerate(table.options):
        where = (*path, "options", number, "code")
        if option.code in fields:
            message = f"option {option.code} has a field of its own: {fields[option.code]}"
            yield Problem(path=where, message=message)
        other = seen.setdefault(option.code, number)
        if other != number:
            message = f"option {option.code} is set twice"
            yield Problem(path=where, message=message, also=((*path, "options", other, "code"),))


def _channel(config: Config, table: DhcpFailoverConfig) -> Iterator[Problem]:
    wanting = [name for name, each in table.interface.items() if each.failover_peer is not None]
    known = logical_interfaces(config)
    if table.sync_interface is not None and table.sync_interface not in known:
        there = ", ".join(sorted(known)) or "none"
        message = f"there is no interface {table.sync_interface!r}; [interfaces] has {there}"
        yield Problem(path=("dhcp_failover", "sync_interface"), message=message)
    if not wanting:
        return
    path: Path = ("dhcp_failover", "interface", wanting[0], "failover_peer")
    if table.sync_interface is None:
        message = 'a failover peer needs the interface between the nodes: [dhcp_failover] sync_interface = "…"'
        yield Problem(path=path, message=message)
    elif table.sync_interface in wanting:
        message = f"{table.sync_interface} is the interface between the nodes; clients have no place there"
        yield Problem(path=("dhcp_failover", "sync_interface"), message=message, severity="warning")
    if not is_paired(config):
        message = "leases travel between paired nodes only: add [xmlrpc_sync], which pairs them"
        yield Problem(path=path, message=message)
