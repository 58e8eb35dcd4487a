"""What a pfsync configuration must satisfy beyond its own table. Pure; each path names the offending key."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.config import Config, LogicalInterface, ProvidesInterfaces, ProvidesPairing
from appliance.errors import Problem
from appliance_pfsync.config import PfsyncConfig
from appliance_pfsync.settings import BSD_VERSIONS


def verify(config: Config) -> list[Problem]:
    """Every problem of the ``[pfsync]`` table in the light of the whole configuration."""
    table = config[PfsyncConfig]
    provider = config.providing(ProvidesInterfaces)
    if provider is None:
        return [Problem(path=("pfsync",), message="pfsync needs an [interfaces] table that declares its interface")]
    known = provider.logical_interfaces()
    is_paired = any(each.pairs_nodes() for each in config.all_providing(ProvidesPairing))
    problems = [*_secured(table, is_paired=is_paired)]
    if table.interface not in known:
        message = f"there is no interface {table.interface!r}; [interfaces] has {', '.join(sorted(known))}"
        return [*problems, Problem(path=("pfsync", "interface"), message=message)]
    return [*problems, *_peers(table, known[table.interface])]


def _secured(table: PfsyncConfig, *, is_paired: bool) -> Iterator[Problem]:
    if table.version in BSD_VERSIONS and not table.plain:
        yield Problem(
            path=("pfsync", "version"),
            message=f"BSD's pfsync ({table.version}) has no authentication: write plain = true if the interface is "
            "a cable between the nodes",
        )
    elif not (table.plain or table.key_file is not None or is_paired):
        yield Problem(
            path=("pfsync",),
            message="no key_file, and no table that pairs the nodes: add [xmlrpc_sync] and pair them with `appliance "
            "pair`, or make a key with `appliance pfsync key FILE` and copy it to every node, or write plain = true "
            "if the interface is a cable between the nodes",
        )
    if table.plain and table.key_file is not None:
        yield Problem(
            path=("pfsync", "plain"),
            message="plain = true and a key_file contradict each other: remove one of them",
        )


def _peers(table: PfsyncConfig, interface: LogicalInterface) -> Iterator[Problem]:
    if not interface.addresses and not table.peers:
        yield Problem(
            path=("pfsync", "interface"),
            severity="warning",
            message=f"{interface.name} has no address of its own; pfsync will use its link-local IPv6 address",
        )
    own = {each.ip for each in interface.addresses}
    families = {peer.version for peer in table.peers}
    if len(families) > 1:
        yield Problem(path=("pfsync", "peers"), message="the peers have to be of one family, IPv4 or IPv6")
    for place, peer in enumerate(table.peers):
        where = ("pfsync", "peers", place)
        if peer in own:
            yield Problem(path=where, message=f"{peer} is this node itself; name the other node's address")
        elif peer.is_multicast:
            yield Problem(path=where, message=f"{peer} is a multicast address; leave peers empty for multicast")
        elif not peer.is_link_local and not any(peer in each.network for each in interface.addresses):
            yield Problem(
                path=where,
                message=f"{peer} is in no network of {interface.name}; pfsync is not routed (its TTL has to arrive "
                "as 255)",
            )
