"""What `appliance doctor` looks at for the firewall, each with its remedy."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import trio

from appliance.config import Config
from appliance.errors import ApplianceError
from appliance.events import Health, RulesetLoaded
from appliance.plugin import Check, Finding, NoProvider, Probe
from appliance.plugin.ruleset import TABLE
from appliance_firewall import needs
from appliance_firewall.automatic import LOCKOUT_PORTS
from appliance_firewall.config import FirewallConfig
from appliance_firewall.events import GetFirewallLog
from appliance_firewall.matching import NUMBERS
from appliance_firewall.reading import Reading, reading_of
from appliance_firewall.resolve import World, lockout_interface, world_of

ANSWER_S = 1.0
RECENT_S = 600.0
"""Blocked packets of the other nodes that are older are over."""
ENTRIES = 2000
NAMED_MAX = 5
"""Things of one kind that a finding names."""

Network = IPv4Network | IPv6Network


Read = Callable[[Config], Reading]


def checks(config: Config, read: Read = reading_of) -> list[Check]:
    """The checks of every configuration with a ``[firewall]`` table.

    Args:
        config: The configuration.
        read: Says what its rules mean; asked when a check needs it.
    """
    assert config.get(FirewallConfig) is not None
    operator = partial(operator_gets_in, config, read)
    own = partial(own_traffic_passes, config, read)
    nodes = partial(nodes_are_not_blocked, config)
    return [
        Check(name="firewall-ruleset", help="The rules are in the kernel.", run=rules_are_loaded),
        Check(name="firewall-log", help="What rules log is recorded.", run=log_records),
        Check(name="firewall-lockout", help="This node is reachable for its operator.", run=operator),
        Check(name="firewall-automatic", help="What the appliance itself needs passes.", run=own),
        Check(name="firewall-nodes", help="No rule blocks the other nodes.", run=nodes),
        Check(
            name="firewall-schedules",
            help="Which rules are off by their schedule.",
            run=partial(schedules, config),
        ),
    ]


async def rules_are_loaded(probe: Probe) -> Finding:
    """By the word of the core's service, and by the kernel's."""
    if not probe.retained(RulesetLoaded):
        return Finding(
            health=Health.FAIL,
            what="the rules have not been loaded",
            why="this node filters nothing, or forwards nothing",
            fix="See 'appliance show services': the service 'ruleset' says which rule the kernel refuses.",
        )
    tables = await probe.output("nft", "list", "tables", "inet")
    if f"table inet {TABLE}" not in tables.splitlines():
        return Finding(
            health=Health.FAIL,
            what=f"table inet {TABLE} is not in the kernel",
            why="another program has flushed the ruleset, and this node filters nothing",
            fix="The rules are loaded again within a second; if they do not stay, disable what removes them: "
            "nftables.service, firewalld.",
        )
    return Finding(health=Health.OK, what="the rules are in the kernel")


async def log_records(probe: Probe) -> Finding:
    """Whether the service has the group of the packet log."""
    answer = await _log(probe, limit=1)
    if answer is None:
        return Finding(
            health=Health.FAIL,
            what="the firewall's service does not answer",
            why="nobody sees what is blocked; the rules themselves do not depend on it",
            fix="See 'appliance show services' for the error.",
        )
    if not answer["recording"]:
        why = "nobody sees what is blocked; the rules themselves do not depend on it"
        return Finding(health=Health.WARN, what=answer["error"], why=why, fix=answer["remedy"])
    return Finding(health=Health.OK, what=f"{answer['recorded']} packets recorded, {answer['suppressed']} not kept")


async def _log(probe: Probe, *words: str, limit: int) -> dict[str, Any] | None:
    try:
        with trio.fail_after(ANSWER_S):
            return await probe.call(GetFirewallLog(words=words, limit=limit))
    except (NoProvider, ApplianceError, trio.TooSlowError):
        return None


# ------------------------------------------------------------------------------------------ what rules let pass


async def operator_gets_in(config: Config, read: Read, _: Probe) -> Finding:
    """Anti-lockout, or rules that do the same."""
    table, reading = config[FirewallConfig], read(config)
    name = lockout_interface(table, reading.world)
    if name:
        return Finding(health=Health.OK, what=f"ports 22 and 443 of this node are always reachable at {name}")
    passed = [port for port in LOCKOUT_PORTS if any(needs.passes(table, reading, None, NUMBERS["tcp"], port))]
    if passed:
        ports = " and ".join(map(str, passed))
        return Finding(health=Health.OK, what=f"anti-lockout is off; own rules pass port {ports}")
    return Finding(
        health=Health.WARN,
        what="anti-lockout is off and no rule passes port 22 or 443",
        why="this node can only be reached at its console",
        fix='Set [firewall] anti_lockout to an interface such as "lan", or add a rule that passes tcp to self port 22.',
    )


async def own_traffic_passes(config: Config, read: Read, _: Probe) -> Finding:
    """Automatic rules that are replaced need a rule of the operator's in their place."""
    table = config[FirewallConfig]
    missing = [f"{kind} at {interface}" for kind, interface in needs.missing(config, read(config))]
    if not missing:
        replaced = ", ".join(table.replace) if table.automatic else "all of them"
        text = f"own rules in the place of automatic ones ({replaced})" if replaced else "automatic rules"
        return Finding(health=Health.OK, what=f"what the appliance needs is passed by {text}")
    return Finding(
        health=Health.FAIL,
        what=f"automatic rules are replaced, and no rule passes: {_some(missing)}",
        why="the nodes need it to hear of each other, and IPv6 needs its own ICMP",
        fix="Take it out of [firewall] replace (or set automatic = true), or add a rule that passes it.",
    )


# ------------------------------------------------------------------------------------------ the other nodes


async def nodes_are_not_blocked(config: Config, probe: Probe) -> Finding:
    """Look for packets of the other nodes in the log."""
    world = world_of(config)
    own = {address.ip for interface in world.interfaces.values() for address in interface.addresses}
    blocked: Counter[str] = Counter()
    rules: Counter[str] = Counter()
    for link in world.links:
        if link.interface not in world.interfaces:
            continue
        networks = _nodes(config, world, link.interface)
        answer = await _log(probe, f"on:{link.interface}", limit=ENTRIES)
        if answer is None:
            continue
        for entry in answer["entries"]:
            if (
                _is_recent(entry, answer["rules_since"])
                and entry["action"] != "pass"
                and _is_from(entry["src"], networks, own)
            ):
                blocked[f"{entry['proto']} of {entry['src']} at {link.interface}"] += 1
                rules[entry["rule"]] += 1
    if not blocked:
        return Finding(health=Health.OK, what="no packet of another node is in the log of blocked packets")
    count = sum(blocked.values())
    return Finding(
        health=Health.WARN,
        what=f"{count} packets of other nodes were blocked in the last {RECENT_S / 60:g} minutes: "
        + _some([name for name, _ in blocked.most_common()]),
        why=f"blocked by {_some([name for name, _ in rules.most_common()])}",
        fix=f"See 'appliance show firewall log on:{world.links[0].interface}'. If the nodes need it, take its kind out "
        "of [firewall] replace, name all nodes in [firewall] nodes, or add a rule that passes it.",
    )


def _nodes(config: Config, world: World, interface: str) -> list[Network]:
    """Where the other nodes are: at their addresses if these are known, else somewhere in the network."""
    peers = [peer for link in world.links if link.interface == interface for peer in link.peers]
    known = [*config[FirewallConfig].nodes, *peers]
    if known:
        return [ip_network(address) for address in known]
    return [address.network for address in world.interfaces[interface].addresses]


def _is_recent(entry: dict[str, Any], rules_since: str) -> bool:
    """Whether it is of late, and was blocked by the rules of now."""
    blocked = datetime.fromisoformat(entry["time"])
    return time.time() - blocked.timestamp() < RECENT_S and blocked >= datetime.fromisoformat(rules_since)


def _is_from(source: str | None, networks: list[Network], own: set[IPv4Address | IPv6Address]) -> bool:
    if source is None:
        return False
    address = ip_address(source)
    return address not in own and any(address in network for network in networks)


# ------------------------------------------------------------------------------------------ schedules


async def schedules(config: Config, _: Probe) -> Finding:
    """Not a fault, but often the answer to why something does not pass."""
    table = config[FirewallConfig]
    now = datetime.now().astimezone()
    applies = {name: each.applies(now) for name, each in table.schedules().items()}
    off = [
        f"{rule.id or f'rule {number}'} ({rule.schedule})"
        for number, rule in enumerate(table.rule, start=1)
        if rule.schedule and not rule.disabled and not applies.get(rule.schedule, True)
    ]
    if not off:
        return Finding(health=Health.OK, what="no rule is off by its schedule")
    return Finding(health=Health.OK, what=f"at {now:%a %H:%M} off by schedule: {_some(off)}")


def _some(names: list[str]) -> str:
    more = len(names) - NAMED_MAX
    return ", ".join(names[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
