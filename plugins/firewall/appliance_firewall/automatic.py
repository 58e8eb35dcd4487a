"""What passes or is dropped without a rule of the operator: visible, counted, and most of it replaceable. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from appliance.config import Config, ProvidesTraffic, Traffic, neighbours
from appliance.plugin import Hook, Set, Stage
from appliance.plugin.ruleset import KeyPath
from appliance_firewall import identity
from appliance_firewall.aliases import Range, collapse, range_text
from appliance_firewall.config import FirewallConfig
from appliance_firewall.expand import protocol_numbers
from appliance_firewall.matching import FAMILY, LIMIT, NUMBERS, log_text
from appliance_firewall.resolve import World, lockout_interface, networks_of

Source = IPv4Address | IPv6Address | IPv4Network | IPv6Network

LOCKOUT_PORTS = (22, 443)
"""The console and the web interface of this node."""
PING, IPV6 = "ping", "ipv6"
BOGONS = {
    4: (
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
    ),
    6: (
        "::/127",
        "::ffff:0:0/96",
        "64:ff9b:1::/48",
        "100::/64",
        "2001:2::/48",
        "2001:db8::/32",
        "3fff::/20",
        "5f00::/16",
        "fec0::/10",
        "ff00::/8",
    ),
}
"""Source addresses that nobody has on the Internet (IANA's special-purpose registries). Link-local IPv6 is not among
them: neighbours use it."""
PRIVATE = {
    4: ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16"),
    6: ("fc00::/7",),
}
"""RFC 1918, RFC 6598 (carriers' NAT) and RFC 4193."""
ERRORS = "destination-unreachable, packet-too-big, time-exceeded, parameter-problem"
NEIGHBOURS = "nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, nd-redirect"
LISTENERS = "mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One rule of a base chain."""

    hook: Hook
    stage: Stage
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Automatic:
    """One thing that happens without a rule, and its counter."""

    counter: str
    kind: str
    """What ``replace`` names; empty: it is not replaceable."""
    interface: str
    """Logical name, or ``any``."""
    text: str
    """For people, in the words of rules."""
    description: str
    lines: tuple[Line, ...]
    origin: KeyPath
    action: str = "pass"


def lockout(table: FirewallConfig, world: World) -> Automatic | None:
    """What keeps the node reachable for its operator, whatever the rules say."""
    name = lockout_interface(table, world)
    if not name:
        return None
    ports = ", ".join(map(str, LOCKOUT_PORTS))
    match = f"iifname @if_{name} meta l4proto {NUMBERS['tcp']} th dport {{ {ports} }}"
    return Automatic(
        counter=identity.LOCKOUT,
        kind="",
        interface=name,
        text=f"pass in on {name} tcp from any to self port {ports}",
        description="anti-lockout: this node stays reachable for its operator",
        lines=(Line(hook=Hook.INPUT, stage=Stage.NEVER, text=f"{match} counter name {identity.LOCKOUT} accept"),),
        origin=("firewall", "anti_lockout"),
    )


def automatic(config: Config, world: World) -> tuple[Automatic, ...]:
    """All that passes or is dropped by itself, in the order in which it is asked, without anti-lockout and defaults."""
    table = config[FirewallConfig]
    passed = [*_ipv6(), *_own_traffic(config, world)] if table.automatic else []
    return (*(each for each in passed if each.kind not in table.replace), *_unroutable(table, world))


def kinds(config: Config, world: World) -> frozenset[str]:
    """Kinds of automatic rules that this configuration has, whether they are replaced or not."""
    return frozenset({IPV6, *(each.name for each in _all_traffic(config, world))})


def invalid() -> Automatic:
    """Packets that belong to no connection and cannot begin one."""
    text = f"ct state invalid counter name {identity.INVALID} drop"
    return Automatic(
        counter=identity.INVALID,
        kind="",
        interface="any",
        text="block in on any what belongs to no connection and cannot begin one",
        description="invalid packets",
        lines=tuple(Line(hook=hook, stage=Stage.STATE, text=text) for hook in (Hook.INPUT, Hook.FORWARD)),
        origin=("firewall",),
        action="block",
    )


def _ipv6() -> Iterator[Automatic]:
    """ICMPv6 without which IPv6 does not work (RFC 4890, 4.3 and 4.4).

    Errors come before the rule for invalid packets: one about a connection that this node does not know, because
    the other node has it, is invalid here. Neighbour discovery is never tracked.
    """
    parts = (
        ("errors", f"icmpv6 type {{ {ERRORS} }}", "errors", (Hook.INPUT, Hook.FORWARD)),
        ("nd", f"ip6 hoplimit 255 icmpv6 type {{ {NEIGHBOURS} }}", "neighbour discovery of the link", (Hook.INPUT,)),
        ("mld", f"ip6 saddr {{ ::, fe80::/10 }} icmpv6 type {{ {LISTENERS} }}", "multicast listeners", (Hook.INPUT,)),
    )
    for name, match, what, hooks in parts:
        counter = f"fw_auto_ipv6_{name}"
        lines = [Line(hook=hook, stage=Stage.STATE, text=f"{match} counter name {counter} accept") for hook in hooks]
        sent = match.partition("icmpv6")[2]
        lines.append(Line(hook=Hook.OUTPUT, stage=Stage.AUTOMATIC, text=f"icmpv6{sent} accept"))
        yield Automatic(
            counter=counter,
            kind=IPV6,
            interface="any",
            text=f"pass in on any ipv6 icmp {what}",
            description="ICMPv6 that IPv6 needs (RFC 4890)",
            lines=tuple(lines),
            origin=("firewall",),
        )


def _all_traffic(config: Config, world: World) -> Iterator[Traffic]:
    """What the nodes' own services receive, and ping between the nodes."""
    table = config[FirewallConfig]
    nodes = tuple(table.nodes)
    links: dict[str, list[Source]] = {}
    for link in world.links:
        if link.interface in world.interfaces:
            links.setdefault(link.interface, []).extend(link.peers)
    for provider in config.all_providing(ProvidesTraffic):
        for each in provider.own_traffic(world.interfaces):
            if each.interface in world.interfaces:
                is_between_nodes = bool(nodes) and each.interface in links
                yield replace(each, sources=nodes) if is_between_nodes else each
    for name, peers in links.items():
        interface = world.interfaces[name]
        known: tuple[Source, ...] = neighbours(interface)
        if peers:
            known = (*peers, *(each.ip for each in interface.addresses))
        sources: tuple[Source, ...] = nodes or tuple(dict.fromkeys(known))
        description = "the nodes ask each other whether they are there"
        yield Traffic(name=PING, interface=name, protocol="icmp", sources=sources, description=description)


def _own_traffic(config: Config, world: World) -> Iterator[Automatic]:
    taken: Counter[str] = Counter()
    for each in _all_traffic(config, world):
        port = f"_{each.port}" if each.port is not None else ""
        counter = f"fw_auto_{identity.safe(each.name)}_{each.interface}{port}"
        taken[counter] += 1
        counter = counter if taken[counter] == 1 else f"{counter}.{taken[counter]}"
        yield Automatic(
            counter=counter,
            kind=each.name,
            interface=each.interface,
            text=_text(each),
            description=each.description,
            lines=tuple(_lines(each, counter, world)),
            origin=("firewall",),
        )


def _text(traffic: Traffic) -> str:
    port = f" port {traffic.port}" if traffic.port is not None else ""
    sources = ", ".join(map(str, traffic.sources)) or "any"
    destinations = ", ".join(map(str, traffic.destinations)) or "self"
    return f"pass in on {traffic.interface} {traffic.protocol} from {sources} to {destinations}{port}"


def _lines(traffic: Traffic, counter: str, world: World) -> Iterator[Line]:
    device = world.interfaces[traffic.interface].device
    for version in (4, 6):
        sources = _family(map(_numbers, traffic.sources), version)
        destinations = _family(map(_numbers, traffic.destinations), version)
        if (traffic.sources and not sources) or (traffic.destinations and not destinations):
            continue
        prefix = "ip" if version == 4 else "ip6"
        kind = _kind(traffic, version)
        received = " ".join(
            (f"iifname @if_{traffic.interface}", kind, *_one_of(f"{prefix} saddr", sources),
             *_one_of(f"{prefix} daddr", destinations))
        )  # fmt: skip
        yield Line(hook=Hook.INPUT, stage=Stage.AUTOMATIC, text=f"{received} counter name {counter} accept")
        # What a rule of the operator blocks when it leaves, the other node would miss.
        sent = " ".join((f'oifname "{device}"', kind, *_one_of(f"{prefix} daddr", destinations or sources)))
        yield Line(hook=Hook.OUTPUT, stage=Stage.AUTOMATIC, text=f"{sent} accept")


def _kind(traffic: Traffic, version: int) -> str:
    if traffic.protocol == "icmp":
        return "icmp type echo-request" if version == 4 else "icmpv6 type echo-request"
    numbers = protocol_numbers(traffic.protocol) or (0,)
    kind = f"meta nfproto {FAMILY[version]} meta l4proto {numbers[0]}"
    return kind if traffic.port is None else f"{kind} th dport {traffic.port}"


def _numbers(source: Source) -> tuple[int, Range]:
    if isinstance(source, IPv4Network | IPv6Network):
        return source.version, (int(source.network_address), int(source.broadcast_address))
    return source.version, (int(source), int(source))


def _family(values: Iterable[tuple[int, Range]], version: int) -> list[str]:
    """Those of one family as nftables writes them; it refuses a set in which two overlap."""
    return [range_text(version, each) for each in collapse(numbers for family, numbers in values if family == version)]


def _one_of(name: str, values: Iterable[str]) -> Iterator[str]:
    listed = list(values)
    if listed:
        yield f"{name} {listed[0]}" if len(listed) == 1 else f"{name} {{ {', '.join(listed)} }}"


def unroutable_sets(table: FirewallConfig) -> Iterator[Set]:
    """What the rules about impossible sources look up."""
    for name, networks, interfaces in (
        ("bogons", BOGONS, table.block_bogons),
        ("private", PRIVATE, table.block_private),
    ):
        for version, key in ((4, "ipv4_addr"), (6, "ipv6_addr")) if interfaces else ():
            yield Set(name=f"fw_{name}_v{version}", key=key, flags="interval", elements=networks[version])


def _unroutable(table: FirewallConfig, world: World) -> Iterator[Automatic]:
    """Packets whose source cannot be at an interface. Its own networks can, whatever they are."""
    options = (
        ("bogons", "sources that nobody has on the Internet", table.block_bogons),
        ("private", "sources in private networks", table.block_private),
    )
    for name, what, interfaces in options:
        for place, interface in enumerate(interfaces):
            if interface not in world.interfaces:
                continue
            counter = f"fw_{name}_{interface}"
            own = networks_of(interface, world)
            lines = []
            for version, prefix in ((4, "ip"), (6, "ip6")):
                wrong = f"iifname @if_{interface} {prefix} saddr @fw_{name}_v{version}"
                match = " ".join((wrong, *_one_of(f"{prefix} saddr !=", _family(own, version))))
                for hook in (Hook.INPUT, Hook.FORWARD):
                    if table.log_default:
                        log = f"{LIMIT} {log_text(identity.log_prefix(counter, 'block'))}"
                        lines.append(Line(hook=hook, stage=Stage.AUTOMATIC, text=f"{match} {log}"))
                    text = f"{match} counter name {counter} drop"
                    lines.append(Line(hook=hook, stage=Stage.AUTOMATIC, text=text))
            yield Automatic(
                counter=counter,
                kind="",
                interface=interface,
                text=f"block in on {interface} from {what}",
                description=what,
                lines=tuple(lines),
                origin=("firewall", f"block_{name}", place),
                action="block",
            )
