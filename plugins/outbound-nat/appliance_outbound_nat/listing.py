"""The table as people see it, in the order in which it is asked. Pure."""

from __future__ import annotations

from appliance.config import Config
from appliance_outbound_nat import forwards, onetoone
from appliance_outbound_nat.config import OneToOneTable, OutboundNatConfig, PortForwardTable
from appliance_outbound_nat.names import CounterNames
from appliance_outbound_nat.outbound import Outbound, outbound_rules, versions
from appliance_outbound_nat.scene import Scene, scene_of
from appliance_outbound_nat.selectors import range_text
from appliance_outbound_nat.settings import NatSettings, ShownForward, ShownPair, ShownRule
from appliance_outbound_nat.translation import parse_translation, resolve


def settings_of(config: Config) -> NatSettings:
    """Everything, of a verified configuration; what is disabled too."""
    table, scene = config[OutboundNatConfig], scene_of(config)
    ports, addresses = CounterNames(), CounterNames()
    return NatSettings(
        node=config.node.name,
        mode=table.mode,
        rules=tuple(_rule(each, scene) for each in outbound_rules(table, scene)),
        forwards=tuple(
            _forward(entry, "" if entry.disabled else ports.name(forwards.PREFIX, entry), table.reflection, scene)
            for entry in table.port_forward
        ),
        pairs=tuple(
            _pair(entry, "" if entry.disabled else addresses.name(onetoone.PREFIX, entry), table.reflection, scene)
            for entry in table.one_to_one
        ),
    )


def _rule(each: Outbound, scene: Scene) -> ShownRule:
    rule = each.rule
    translation = parse_translation(rule.translation, rule.interface, scene)
    resolved = [resolve(translation, version, scene) for version in versions(rule, scene)]
    return ShownRule(
        id=rule.id,
        counter=each.counter,
        kind="automatic" if each.automatic else "manual",
        interface=rule.interface,
        protocol=str(rule.protocol),
        source=rule.source,
        source_port=str(rule.source_port),
        destination=rule.destination,
        destination_port=str(rule.destination_port),
        translation=rule.translation,
        resolved=tuple(address for address in resolved if address),
        static_port=rule.static_port,
        description=rule.description,
        disabled=rule.disabled,
    )


def _forward(entry: PortForwardTable, counter: str, reflection: bool, scene: Scene) -> ShownForward:
    target = forwards.parse_target(entry.target, scene)
    external = forwards.parse_destination(entry.destination, entry.interface, target.version, scene)
    return ShownForward(
        id=entry.id,
        counter=counter,
        interface=entry.interface,
        protocol=entry.protocol,
        source=entry.source,
        destination=entry.destination,
        resolved="" if external is None else str(external),
        port=str(entry.port),
        target=str(target),
        target_port=str(entry.port if entry.target_port is None else entry.target_port),
        filter=entry.filter,
        reflection=reflection if entry.reflection is None else entry.reflection,
        description=entry.description,
        disabled=entry.disabled,
    )


def _pair(entry: OneToOneTable, counter: str, reflection: bool, scene: Scene) -> ShownPair:
    internal = onetoone.parse_network(entry.internal, scene)
    return ShownPair(
        id=entry.id,
        counter=counter,
        interface=entry.interface,
        external=entry.external,
        resolved=range_text(onetoone.parse_external(entry.external, internal.version, scene)),
        internal=range_text(internal),
        destination=entry.destination,
        reflection=reflection if entry.reflection is None else entry.reflection,
        description=entry.description,
        disabled=entry.disabled,
    )
