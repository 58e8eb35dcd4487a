"""What `appliance doctor` looks at for translation, each with its remedy. They look at the configuration alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from ipaddress import IPv4Network

from appliance.config import Config
from appliance.events import Health
from appliance.plugin import Check, Finding, Probe
from appliance_outbound_nat.config import OutboundNatConfig
from appliance_outbound_nat.forwards import forwards
from appliance_outbound_nat.outbound import Outbound, outbound_rules, versions
from appliance_outbound_nat.scene import Scene, scene_of
from appliance_outbound_nat.selectors import parse_selector
from appliance_outbound_nat.translation import parse_translation, resolve

PRIVATE = tuple(IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"))
"""Networks whose packets get no answer from the Internet (RFC 1918, RFC 6598)."""


def checks(config: Config) -> list[Check]:
    """The checks of every configuration with an ``[outbound_nat]`` table."""
    table, scene = config[OutboundNatConfig], scene_of(config)
    rules = [each for each in outbound_rules(table, scene) if each.counter]
    return [
        Check(
            name="nat-networks",
            help="Every internal network is translated on every WAN.",
            run=_ready(lambda: networks(table, rules, scene)),
        ),
        Check(
            name="nat-vip",
            help="Outbound rules use the virtual host of their WAN.",
            run=_ready(lambda: shared(rules, scene)),
        ),
        Check(
            name="nat-forwards",
            help="Port forwards move with the virtual hosts.",
            run=_ready(lambda: moving(table, scene)),
        ),
    ]


def _ready(make: Callable[[], Finding]) -> Callable[[Probe], Awaitable[Finding]]:
    async def run(_: Probe) -> Finding:
        return make()

    return run


def networks(table: OutboundNatConfig, rules: list[Outbound], scene: Scene) -> Finding:
    """A network that was added after the rules were written has no Internet."""
    if table.mode in ("automatic", "hybrid") and not scene.wans:
        return Finding(
            health=Health.WARN,
            what="no interface has a gateway, so nothing is translated automatically",
            why="clients inside have no Internet",
            fix="Give the WAN a default route or a gateway, or write the rules and use the mode manual.",
        )
    if table.mode != "manual":
        return Finding(health=Health.OK, what=f"nothing to look for in the mode {table.mode}")
    missing = list(_missing(rules, scene))
    if not missing:
        return Finding(health=Health.OK, what="the manual rules name every internal network on every WAN")
    return Finding(
        health=Health.WARN,
        what=f"manual outbound NAT has no rule for {'; '.join(missing)}",
        why="the Internet does not answer private addresses",
        fix='Add an [[outbound_nat.rule]] for each; translation = "none" where that is meant.',
    )


def _missing(rules: list[Outbound], scene: Scene) -> Iterator[str]:
    for wan in scene.wans:
        sources = [parse_selector(each.rule.source, scene) for each in rules if _is_for_all(each, wan)]
        for name in scene.inside:
            for network in scene.networks(name):
                private = isinstance(network, IPv4Network) and any(network.subnet_of(each) for each in PRIVATE)
                if private and not any(source.covers(network) for source in sources):
                    yield f"{name} {network} on {wan}"


def _is_for_all(each: Outbound, wan: str) -> bool:
    """Whether a rule decides about everything that its sources send by a WAN, or leaves some of it out on purpose."""
    rule = each.rule
    return rule.interface == wan and (rule.translation == "none" or (rule.protocol, rule.destination) == ("any", "any"))


def shared(rules: list[Outbound], scene: Scene) -> Finding:
    """Connections translated to a node's own address end when the other node takes over."""
    alone = list(dict.fromkeys(_not_shared(rules, scene)))
    if not alone:
        return Finding(health=Health.OK, what="no outbound rule passes over a virtual host of its WAN")
    return Finding(
        health=Health.WARN,
        what=f"outbound NAT by a node's own address although there is a virtual host: {'; '.join(alone)}",
        why="connections through it end at a takeover",
        fix='Write the "vip:NAME" above as the translation of these rules.',
    )


def _not_shared(rules: list[Outbound], scene: Scene) -> Iterator[str]:
    for each in rules:
        rule = each.rule
        translation = parse_translation(rule.translation, rule.interface, scene)
        for version in versions(rule, scene) if translation.kind in ("interface", "address") else ():
            host = scene.shared_host(rule.interface, version)
            own = scene.own_address(rule.interface, version)
            if host is not None and own is not None and resolve(translation, version, scene) == str(own):
                place = each.origin[-1]
                number = f"rule {place + 1}" if isinstance(place, int) else "automatic rule"
                yield f"{number} ({rule.source} on {rule.interface}, vip:{host.name})"


def moving(table: OutboundNatConfig, scene: Scene) -> Finding:
    """A forward from a node's own address is not there any more after a takeover."""
    own = {each.ip for interface in scene.interfaces.values() for each in interface.addresses}
    fixed = [each for each in forwards(table, scene) if each.external is None or each.external in own]
    if not fixed:
        return Finding(health=Health.OK, what="every port forward is on an address that moves")
    told = dict.fromkeys(f"port {each.first} of {each.external or each.interface}" for each in fixed)
    return Finding(
        health=Health.WARN,
        what=f"port forwards from this node's own address: {', '.join(told)}",
        why="after a takeover nothing answers there",
        fix='Write destination = "vip:NAME" of a virtual host on the same interface.',
    )
