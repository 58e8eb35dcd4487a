"""The rules that send connections to gateways and keep them there. Pure.

The low byte of a connection's mark is the number of its gateway, and no other bit is touched. It is set once, by a
connection's first packet, and pfsync carries it to the other nodes. The mark of a *packet* is what the kernel routes
by, and only packets from inside get one: an answer that comes in from a WAN has to find its way in by the main table.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from appliance.config import Config, LogicalInterface, ProvidesInterfaces
from appliance.plugin import Chain, Fragment, Hook, Hooked, Rule, Set, Stage
from appliance_gateways.config import GatewaysConfig
from appliance_gateways.groups import SLOTS, Group

LOCAL = "gw_local"
"""Counts packets that a policy wanted to send to a gateway and that stayed because they are local."""
PORTS = "{ tcp, udp, udplite, sctp, dccp }"
"""Protocols with ports, by which connections between the same two hosts can be told apart."""
UNCHOSEN = "ct mark and 0xff == 0x0"
CHOSEN = "ct mark and 0xff != 0x0"
_IP = {4: "ip", 6: "ip6"}


def fragment(config: Config) -> Fragment:
    """Everything the plugin contributes to the node's table."""
    table = config[GatewaysConfig]
    provider = config.providing(ProvidesInterfaces)
    known = provider.logical_interfaces() if provider else {}
    entries = list(_entries(table))
    wans = [known[name] for name in dict.fromkeys(name for name, *_ in entries) if name in known]
    groups = [group for group in table.groups() if group.members]
    return Fragment(
        hooked=(
            Hooked(hook=Hook.POLICY, stage=Stage.STATE, rules=tuple(_known(table, wans))),
            Hooked(hook=Hook.POLICY, stage=Stage.DEFAULT, rules=tuple(_default(table))),
            Hooked(hook=Hook.POLICY_LOCAL, stage=Stage.STATE, rules=tuple(_from_here(table, wans))),
            Hooked(hook=Hook.FORWARD, stage=Stage.STATE, rules=tuple(_leaving(table, wans))),
        ),
        chains=(
            *(_use(name, number) for name, _table, number in table.numbered()),
            *(_to_gateway(table, name) for name, _table, _number in table.numbered()),
            *(chain for group in groups for chain in (_pick(table, group), _to_group(table, group))),
        ),
        sets=tuple(
            Set(name=group.map_name, key="mark", value="mark", kept=True, origin=("gateways", "group", group.name))
            for group in groups
        ),
        counters=(
            LOCAL,
            *(f"gw_new_{name}" for name in table.policies()),
            *(f"gw_in_{name}" for name in table.gateway),
        ),
    )


def seed(group: str) -> int:
    """Of a group's hash: the same on all nodes, another for each group, never 0 (nft would choose one itself)."""
    return zlib.crc32(group.encode()) | 1


def _entries(table: GatewaysConfig) -> Iterator[tuple[str, int, str, int]]:
    """Interface, family, gateway and its number: the first gateway of a family on an interface answers there."""
    seen: set[tuple[str, int]] = set()
    for name, gateway, number in table.numbered():
        for address in gateway.addresses:
            if (gateway.interface, address.version) not in seen:
                seen.add((gateway.interface, address.version))
                yield gateway.interface, address.version, name, number


def _keep(number: int) -> str:
    """Remember a gateway for the connection; other bits of its mark stay."""
    return f"ct mark set ct mark and 0xffffff00 or 0x{number:x}"


def _local(version: int) -> str:
    return f"{_IP[version]} daddr @local_v{version}"


def _known(table: GatewaysConfig, wans: list[LogicalInterface]) -> Iterator[Rule]:
    """What comes in from a WAN is remembered and never marked; what comes from inside follows its connection."""
    names = {wan.name for wan in wans}
    for interface, version, name, number in _entries(table):
        if interface in names:
            text = f"iifname @if_{interface} meta nfproto ipv{version} ct state new {UNCHOSEN} {_keep(number)}"
            yield Rule(text=f"{text} counter name gw_in_{name}", origin=("gateways", "gateway", name))
    for wan in wans:
        yield Rule(text=f"iifname @if_{wan.name} accept", origin=("gateways",))
    if table.gateway:
        for version in (4, 6):
            yield Rule(
                text=f"{_IP[version]} daddr != @local_v{version} {CHOSEN} meta mark set ct mark and 0xff accept",
                origin=("gateways",),
            )


def _default(table: GatewaysConfig) -> Iterator[Rule]:
    """New connections that no rule sent elsewhere."""
    for version in (4, 6):
        name = table.default4 if version == 4 else table.default6
        if name:
            text = f"meta nfproto ipv{version} ct state new {UNCHOSEN} goto gw_to_{name}"
            yield Rule(text=text, origin=("gateways", f"default{version}"))


def _from_here(table: GatewaysConfig, wans: list[LogicalInterface]) -> Iterator[Rule]:
    """Answers of this node leave by the WAN of the question, and its own connections stay where they began.

    Packets that are marked already are left alone: probes of gateways are.
    """
    devices = {wan.name: wan.device for wan in wans}
    if table.gateway:
        yield Rule(text=f"{CHOSEN} meta mark set ct mark and 0xff", origin=("gateways",))
    for interface, version, name, number in _entries(table):
        if interface in devices:
            yield Rule(
                text=f'oifname "{devices[interface]}" meta nfproto ipv{version} meta mark 0x0 ct state new {UNCHOSEN} '
                f"{_local(version).replace('@', '!= @')} {_keep(number)}",
                origin=("gateways", "gateway", name),
            )


def _leaving(table: GatewaysConfig, wans: list[LogicalInterface]) -> Iterator[Rule]:
    """Connections that the main table sends out by a WAN stay with it when the default changes."""
    devices = {wan.name: wan.device for wan in wans}
    for interface, version, name, number in _entries(table):
        if interface in devices:
            yield Rule(
                text=f'oifname "{devices[interface]}" meta nfproto ipv{version} ct state new {UNCHOSEN} '
                f"{_local(version).replace('@', '!= @')} {_keep(number)}",
                origin=("gateways", "gateway", name),
            )


def _use(name: str, number: int) -> Chain:
    """Send this connection, beginning with this packet, to a gateway."""
    rule = Rule(text=f"{_keep(number)} meta mark set 0x{number:x}", origin=("gateways", "gateway", name))
    return Chain(name=f"gw_use_{name}", rules=(rule,))


def _stay(table: GatewaysConfig, name: str, origin: tuple[str, ...]) -> Iterator[Rule]:
    """What is local, or of a family that the gateway does not have, goes where the main table says."""
    for version in (4, 6):
        yield Rule(text=f"{_local(version)} counter name {LOCAL} return", origin=origin)
    yield Rule(text=f"fib daddr type {{ local, broadcast, multicast }} counter name {LOCAL} return", origin=origin)
    families = table.families(name)
    for version in (4, 6):
        if version not in families:
            yield Rule(text=f"meta nfproto ipv{version} return", origin=origin)


def _to_gateway(table: GatewaysConfig, name: str) -> Chain:
    origin = ("gateways", "gateway", name)
    go = Rule(text=f"counter name gw_new_{name} goto gw_use_{name}", origin=origin)
    return Chain(name=f"gw_to_{name}", rules=(*_stay(table, name, origin), go))


def _to_group(table: GatewaysConfig, group: Group) -> Chain:
    """Hash to a slot, look its gateway up, use it. Without one the packet is as if no rule had named the group."""
    origin = ("gateways", "group", group.name)
    texts = [text for version in sorted(table.families(group.name)) for text in _hashes(group, version)]
    texts += [
        f"meta mark set meta mark map @{group.map_name} counter name gw_new_{group.name} goto gw_pick_{group.name}",
        "meta mark set 0x0",
    ]
    rules = tuple(Rule(text=text, origin=origin) for text in texts)
    return Chain(name=f"gw_to_{group.name}", rules=(*_stay(table, group.name, origin), *rules))


def _hashes(group: Group, version: int) -> Iterator[str]:
    ip, how = _IP[version], f"mod {SLOTS} seed 0x{seed(group.name):x}"
    if group.sticky:
        yield f"meta nfproto ipv{version} meta mark set jhash {ip} saddr {how}"
        return
    family, both = f"meta nfproto ipv{version} meta l4proto", f"{ip} saddr . {ip} daddr"
    yield f"{family} {PORTS} meta mark set jhash {both} . th sport {how}"
    yield f"{family} != {PORTS} meta mark set jhash {both} {how}"


def _pick(table: GatewaysConfig, group: Group) -> Chain:
    """From a number to the chain that uses its gateway: only a constant leaves other bits of a mark alone."""
    marks = {name: gateway.mark for name, gateway in table.gateways().items()}
    members = sorted({each.gateway for each in group.members} & marks.keys())
    elements = ", ".join(f"0x{marks[name]:x} : goto gw_use_{name}" for name in members)
    rule = Rule(text=f"meta mark vmap {{ {elements} }}", origin=("gateways", "group", group.name))
    return Chain(name=f"gw_pick_{group.name}", rules=(rule,))
