"""What ``[xmlrpc_sync]`` must satisfy beyond its own table. Pure; each path names the offending key."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.config import Config, LogicalInterface, ProvidesInterfaces
from appliance.errors import Problem
from appliance_xmlrpc_sync.config import XmlrpcSyncConfig, accounts_of, size_warning

TABLE = "xmlrpc_sync"


def verify(config: Config) -> list[Problem]:
    """Every problem of the table in the light of the whole configuration."""
    table = config[XmlrpcSyncConfig]
    provider = config.providing(ProvidesInterfaces)
    problems = [*_accounts(config), *_once(table), *_size(config)]
    if provider is None:
        message = "synchronization needs an [interfaces] table that declares its interface"
        return [*problems, Problem(path=(TABLE,), message=message)]
    known = provider.logical_interfaces()
    if table.interface not in known:
        message = f"there is no interface {table.interface!r}; [interfaces] has {', '.join(sorted(known))}"
        return [*problems, Problem(path=(TABLE, "interface"), message=message)]
    return [*problems, *_role(config, table), *_peers(table, known[table.interface])]


def _accounts(config: Config) -> Iterator[Problem]:
    accounts = accounts_of(config)
    if accounts and not any(each.privilege == "sync" for each in accounts):
        names = ", ".join(each.name for each in accounts)
        message = (
            f"nobody may push to this node: its own users with a password are {names}, and they may only look or are "
            'disabled; give one of them the role "sync"'
        )
        yield Problem(path=(TABLE,), message=message, severity="warning")


def _size(config: Config) -> Iterator[Problem]:
    if config[XmlrpcSyncConfig].peers and (message := size_warning(config)):
        yield Problem(path=(TABLE,), message=message, severity="warning")


def _once(table: XmlrpcSyncConfig) -> Iterator[Problem]:
    for place, name in enumerate(table.off):
        if name in table.off[:place]:
            yield Problem(path=(TABLE, "off", place), message=f"{name!r} is there twice", severity="warning")
    for place, peer in enumerate(table.peers):
        if peer in table.peers[:place]:
            yield Problem(path=(TABLE, "peers", place), message=f"{peer} is there twice: remove one of them")


def _role(config: Config, table: XmlrpcSyncConfig) -> Iterator[Problem]:
    if config.node.role == "secondary" and table.peers:
        message = (
            "a secondary sends its configuration to nobody: remove the peers, or make this node the primary "
            '([node] role = "primary") and the other one the secondary'
        )
        yield Problem(path=(TABLE, "peers"), message=message, also=(("node", "role"),))


def _peers(table: XmlrpcSyncConfig, interface: LogicalInterface) -> Iterator[Problem]:
    if not interface.addresses:
        message = f"{interface.name} has no address: give it one in [interfaces.{interface.name}]"
        yield Problem(path=(TABLE, "interface"), message=message)
        return
    own = {each.ip for each in interface.addresses}
    for place, peer in enumerate(table.peers):
        where = (TABLE, "peers", place)
        if peer in own:
            yield Problem(path=where, message=f"{peer} is this node itself; name the other node's address")
        elif not any(peer in each.network for each in interface.addresses):
            message = f"{peer} is in no network of {interface.name}: synchronization uses this interface only"
            yield Problem(path=where, message=message)
