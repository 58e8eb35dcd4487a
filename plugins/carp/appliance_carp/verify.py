"""What a CARP configuration must satisfy beyond its own table: the handbook's rules about VIPs.

Pure. Each rule is one function with a message of its own; the path names the offending key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Interface, IPv6Interface, ip_network

from appliance.config import Config, LogicalInterface, ProvidesInterfaces, ProvidesPairing
from appliance.errors import Problem
from appliance_carp.config import CarpConfig, VipTable

Path = tuple[str | int, ...]
Interfaces = Mapping[str, LogicalInterface]
Address = IPv4Interface | IPv6Interface


def verify(config: Config) -> list[Problem]:
    """Every problem of the ``[carp]`` table in the light of the whole configuration."""
    table = config[CarpConfig]
    provider = config.providing(ProvidesInterfaces)
    if provider is None:
        return [Problem(path=("carp",), message="CARP needs an [interfaces] table that declares its interfaces")]
    known = provider.logical_interfaces()
    is_paired = any(each.pairs_nodes() for each in config.all_providing(ProvidesPairing))
    problems = [*_sync_interface(table, known), *_unique(table)]
    for index, vip in enumerate(table.vip):
        path: Path = ("carp", "vip", index)
        problems += [] if is_paired else _password(table, vip, path)
        problems += _timers(table, vip, path)
        if vip.interface not in known:
            problems.append(_unknown_interface((*path, "interface"), vip.interface, known))
            continue
        problems += _addresses(vip, known[vip.interface], path)
        problems += _peers(vip, known[vip.interface], path)
    return problems


def _unknown_interface(path: Path, name: str, known: Interfaces) -> Problem:
    return Problem(path=path, message=f"there is no interface {name!r}; [interfaces] has {', '.join(sorted(known))}")


def _sync_interface(table: CarpConfig, known: Interfaces) -> Iterator[Problem]:
    name = table.sync_interface
    if name is None:
        return
    if name not in known:
        yield _unknown_interface(("carp", "sync_interface"), name, known)
    if any(vip.interface == name for vip in table.vip):
        yield Problem(
            path=("carp", "sync_interface"),
            severity="warning",
            message=f"{name} also carries virtual addresses; a link of its own between the nodes is safer",
        )


def _unique(table: CarpConfig) -> Iterator[Problem]:
    seen: dict[tuple[str, object], Path] = {}
    for index, vip in enumerate(table.vip):
        path: Path = ("carp", "vip", index)
        claims: list[tuple[str, object, Path, str]] = [
            ("name", vip.name, (*path, "name"), f"the name {vip.name!r} is taken by another VIP"),
            (
                "vhid",
                (vip.interface, vip.vhid),
                (*path, "vhid"),
                f"VHID {vip.vhid} is already used on {vip.interface}; it must be unique on its broadcast domain",
            ),
        ]
        for kind in ("addresses", "aliases"):
            for place, address in enumerate(getattr(vip, kind)):
                claims.append(("ip", address.ip, (*path, kind, place), f"{address.ip} is already a virtual address"))
        for kind, value, where, message in claims:
            first = seen.setdefault((kind, value), where)
            if first is not where:
                yield Problem(path=where, message=message, also=(first,))


def _password(table: CarpConfig, vip: VipTable, path: Path) -> Iterator[Problem]:
    if not table.secret_of(vip):
        yield Problem(
            path=path,
            message="no password: set one here or as the default in [carp], or pair the nodes ([xmlrpc_sync]); without "
            "it anybody on the network could take the address",
        )


def _timers(table: CarpConfig, vip: VipTable, path: Path) -> Iterator[Problem]:
    if table.profile != "custom" and vip.advbase == 0:
        yield Problem(
            path=(*path, "advbase"),
            message='advbase 0 (sub-second heartbeats) needs profile = "custom"; for 100 ms use profile = "fast"',
        )
    if table.profile != "custom" and vip.dead_ratio != 3:
        yield Problem(path=(*path, "dead_ratio"), message='a dead_ratio other than 3 needs profile = "custom"')
    if vip.advbase == 0 and vip.advskew < 3:
        yield Problem(
            path=(*path, "advskew"),
            message="with advbase 0 the interval is advskew/256 s; at least 3 (12 ms) is needed",
        )


def _addresses(vip: VipTable, interface: LogicalInterface, path: Path) -> Iterator[Problem]:
    own = {each.ip: each for each in interface.addresses}
    for kind in ("addresses", "aliases"):
        addresses: list[Address] = getattr(vip, kind)
        for place, address in enumerate(addresses):
            where = (*path, kind, place)
            if address.ip in own:
                yield Problem(
                    path=where,
                    message=f"{address.ip} is this node's own address on {interface.name}; a VIP is a further, "
                    "shared address",
                )
            elif not address.ip.is_loopback and not address.ip.is_multicast and not address.ip.is_unspecified:
                yield from _usable(address, where)
                if kind == "addresses":
                    yield from _fits_network(address, interface, where)
            else:
                yield Problem(path=where, message=f"{address.ip} cannot be a virtual address")


def _usable(address: Address, where: Path) -> Iterator[Problem]:
    network = address.network
    if address.version == 4 and network.prefixlen < 31 and address.ip in (network[0], network[-1]):
        which = "network" if address.ip == network[0] else "broadcast"
        yield Problem(path=where, message=f"{address.ip} is the {which} address of {network}")
    if address.version == 6 and address.ip.is_link_local and network.prefixlen != 64:
        yield Problem(path=where, message=f"a link-local VIP needs the prefix length 64, not {network.prefixlen}")


def _fits_network(address: Address, interface: LogicalInterface, where: Path) -> Iterator[Problem]:
    family = [each for each in interface.addresses if each.version == address.version]
    if address.version == 6 and address.ip.is_link_local:
        return
    if address.network.prefixlen == address.max_prefixlen and not any(
        each.network.prefixlen == address.max_prefixlen for each in family
    ):
        hint = f", /{family[0].network.prefixlen} on {interface.name}" if family else ""
        yield Problem(
            path=where,
            message=f"a VIP carries the prefix length of its network{hint}, never /{address.max_prefixlen}",
        )
        return
    if not family:
        return  # a VIP as the only address of an interface is allowed
    around = [each for each in family if address.ip in each.network]
    if not around:
        listed = ", ".join(str(ip_network(each.network)) for each in family)
        yield Problem(
            path=where,
            message=f"{address.ip} is in no network of {interface.name} ({listed}); give the interface an address "
            "of that network first, or stack it as an alias",
        )
    elif all(each.network.prefixlen != address.network.prefixlen for each in around):
        yield Problem(
            path=where,
            message=f"the prefix length must be that of {interface.name}: "
            f"{address.ip}/{around[0].network.prefixlen}, not /{address.network.prefixlen}",
        )


def _peers(vip: VipTable, interface: LogicalInterface, path: Path) -> Iterator[Problem]:
    own = {each.ip for each in interface.addresses}
    families = {each.version for each in vip.addresses}
    for place, peer in enumerate(vip.peers):
        where = (*path, "peers", place)
        if peer.is_multicast:
            yield Problem(path=where, message=f"{peer} is a multicast address; leave peers empty for multicast")
        elif peer in own:
            yield Problem(path=where, message=f"{peer} is this node itself; name the other node's address")
        elif peer.version not in families:
            yield Problem(path=where, message=f"{peer} is IPv{peer.version}, but the VIP has no such address")
    missing = families - {peer.version for peer in vip.peers}
    if vip.peers and missing:
        yield Problem(
            path=(*path, "peers"),
            message=f"unicast needs a peer of each family; IPv{min(missing)} has none",
        )
