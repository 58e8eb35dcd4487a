"""The plugin's fragment of the node's ruleset: everything at its hook and stage. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from appliance.config import Config
from appliance.plugin import Fragment, Hook, Hooked, Rule, Stage
from appliance_outbound_nat import forwards, onetoone
from appliance_outbound_nat.config import OutboundNatConfig
from appliance_outbound_nat.forwardrules import forwards_part
from appliance_outbound_nat.outbound import outbound_part, outbound_rules
from appliance_outbound_nat.own import NEVER, own_rules
from appliance_outbound_nat.parts import Part
from appliance_outbound_nat.reflection import reflection_part
from appliance_outbound_nat.scene import scene_of


def fragment(config: Config) -> Fragment:
    """Everything the table says, of a verified configuration.

    Inward, port forwards come before one-to-one entries. Outward, one-to-one entries come before rules, and those
    before automatic ones.
    """
    table, scene = config[OutboundNatConfig], scene_of(config)
    forwarded, paired = forwards.forwards(table, scene), onetoone.pairs(table, scene)
    rules = outbound_rules(table, scene)
    ports, addresses = forwards_part(forwarded), onetoone.onetoone_part(paired, scene)
    reflection = reflection_part([*forwards.reflected(forwarded), *onetoone.reflected(paired)], scene)
    manual = outbound_part([each for each in rules if not each.automatic], scene)
    automatic = outbound_part([each for each in rules if each.automatic], scene)
    parts = (ports, addresses, reflection, manual, automatic)
    never = own_rules(scene) if table.mode != "disabled" else (NEVER,)
    user = [each for part in (reflection, addresses, manual) for each in part.outward]
    return Fragment(
        hooked=(
            Hooked(hook=Hook.TRANSLATE_IN, stage=Stage.NEVER, rules=(NEVER,)),
            Hooked(hook=Hook.TRANSLATE_OUT, stage=Stage.NEVER, rules=never),
            *_hooked(Hook.TRANSLATE_IN, Stage.USER, (*ports.inward, *addresses.inward)),
            *_hooked(Hook.TRANSLATE_OUT, Stage.USER, user),
            *_hooked(Hook.TRANSLATE_OUT, Stage.DEFAULT, automatic.outward),
            *_hooked(Hook.FORWARD, Stage.USER, ports.passing),
        ),
        sets=tuple(each for part in parts for each in part.sets),
        counters=_counters(parts),
    )


def _hooked(hook: Hook, stage: Stage, rules: Iterable[Rule]) -> list[Hooked]:
    listed = tuple(rules)
    return [Hooked(hook=hook, stage=stage, rules=listed)] if listed else []


def _counters(parts: Iterable[Part]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for part in parts for name in part.counters))
