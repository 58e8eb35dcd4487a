"""Networks elsewhere after which the other nodes may not be reached any more. Pure.

They are right in themselves and may be what is wanted. But who makes them by mistake cannot correct them from the other
node, so they have to be confirmed. That the node listens there no longer is the core's business
(`appliance.config.Traffic.is_way_in`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network

from appliance.config import Config, LogicalInterface, ProvidesInterfaces
from appliance.errors import Problem
from appliance_xmlrpc_sync.config import XmlrpcSyncConfig

Network = IPv4Network | IPv6Network
CUT = "the other nodes do not reach this one until they are changed, too"


def cuts(config: Config, old: Config | None) -> list[Problem]:
    """What of the change may cut the synchronization.

    Args:
        config: A candidate without errors of `verify`.
        old: The configuration in force; without one, or without synchronization in it, there is nothing to cut.
    """
    before, after = old.get(XmlrpcSyncConfig) if old is not None else None, config[XmlrpcSyncConfig]
    if old is None or before is None:
        return []
    was, becomes = _interfaces(old), _interfaces(config)
    is_moved = before.interface != after.interface
    return [] if is_moved or after.interface not in becomes else list(_of_others(was, becomes, after.interface))


def _of_others(
    was: Mapping[str, LogicalInterface], becomes: Mapping[str, LogicalInterface], sync: str
) -> Iterator[Problem]:
    """Networks by which the way to the other nodes would be somewhere else."""
    own = [address.network for address in becomes[sync].addresses]
    for name, interface in becomes.items():
        known = _networks(was[name]) if name in was else frozenset()
        for network in sorted(_networks(interface) - known, key=str):
            covers = [each for each in own if _is_part(network, each)]
            if name != sync and covers:
                yield _cut(("interfaces", name), f"{network} of {name} is a part of {covers[0]} of {sync}")


def _is_part(network: Network, whole: Network) -> bool:
    if isinstance(network, IPv4Network):
        return isinstance(whole, IPv4Network) and network.subnet_of(whole)
    return isinstance(whole, IPv6Network) and network.subnet_of(whole)


def _networks(interface: LogicalInterface) -> frozenset[Network]:
    return frozenset([*(address.network for address in interface.addresses), *interface.routes])


def _interfaces(config: Config) -> Mapping[str, LogicalInterface]:
    provider = config.providing(ProvidesInterfaces)
    return provider.logical_interfaces() if provider is not None else {}


def _cut(path: tuple[str, ...], what: str) -> Problem:
    return Problem(path=path, message=f"{what}: {CUT}", severity="confirm")
