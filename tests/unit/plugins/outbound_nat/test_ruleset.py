"""The whole fragment: every rule at its hook and stage."""

from __future__ import annotations

from appliance.net.ruleset import compose
from appliance.plugin import Fragment, Hook, Stage
from appliance_outbound_nat.ruleset import fragment
from tests.unit.plugins.outbound_nat.fakes import config

EVERYTHING = """
mode = "hybrid"
[[rule]]
interface = "wan"
source = "net:lan"
destination = "192.0.2.0/24"
translation = "none"
[[one_to_one]]
interface = "wan"
external = "198.51.100.50"
internal = "192.168.1.50"
reflection = true
[[port_forward]]
interface = "wan"
destination = "vip:wan"
port = 80
target = "192.168.1.10"
"""


def stages(made: Fragment) -> list[tuple[Hook, Stage, int]]:
    return [(each.hook, each.stage, len(each.rules)) for each in made.hooked]


def rules(made: Fragment, hook: Hook, stage: Stage) -> list[str]:
    return [rule.text for each in made.hooked if (each.hook, each.stage) == (hook, stage) for rule in each.rules]


def test_everything_has_its_place() -> None:
    made = fragment(config(EVERYTHING))
    assert stages(made) == [
        (Hook.TRANSLATE_IN, Stage.NEVER, 1),
        (Hook.TRANSLATE_OUT, Stage.NEVER, 3),
        (Hook.TRANSLATE_IN, Stage.USER, 3),
        (Hook.TRANSLATE_OUT, Stage.USER, 3),
        (Hook.TRANSLATE_OUT, Stage.DEFAULT, 2),
        (Hook.FORWARD, Stage.USER, 1),
    ]


def test_heartbeats_and_states_are_translated_in_neither_direction() -> None:
    made = fragment(config(EVERYTHING))
    for hook in (Hook.TRANSLATE_IN, Hook.TRANSLATE_OUT):
        assert rules(made, hook, Stage.NEVER)[0] == "meta l4proto { 112, 240 } accept"


def test_forwards_come_before_pairs_and_pairs_before_rules() -> None:
    made = fragment(config(EVERYTHING))
    inward, outward = (rules(made, hook, Stage.USER) for hook in (Hook.TRANSLATE_IN, Hook.TRANSLATE_OUT))
    assert ["_port_" in text for text in inward] == [True, False, False]
    assert ["nat_set_reflected" in text for text in outward] == [True, False, False]
    assert ["map @nat_map_one_out" in text for text in outward] == [False, True, False]


def test_disabled_leaves_forwards_and_pairs_and_nothing_else() -> None:
    made = fragment(config(EVERYTHING.replace("hybrid", "disabled")))
    assert rules(made, Hook.TRANSLATE_OUT, Stage.NEVER) == ["meta l4proto { 112, 240 } accept"]
    assert rules(made, Hook.TRANSLATE_OUT, Stage.DEFAULT) == []
    assert len(rules(made, Hook.TRANSLATE_OUT, Stage.USER)) == 2
    assert len(rules(made, Hook.TRANSLATE_IN, Stage.USER)) == 3


def test_every_name_is_declared_once_and_begins_with_the_plugin_s() -> None:
    made = fragment(config(EVERYTHING))
    compose([("outbound-nat", made)])  # refuses what is declared twice
    names = [*made.counters, *(each.name for each in made.sets)]
    assert all(name.startswith("nat_") for name in names)


def test_every_counter_that_is_named_is_declared() -> None:
    made = fragment(config(EVERYTHING))
    named = {
        part.split('"')[0]
        for each in made.hooked
        for rule in each.rules
        for part in rule.text.split('counter name "')[1:]
    }
    named |= {element.split('"')[1] for each in made.sets if each.value == "counter" for element in each.elements}
    assert named == set(made.counters)


def test_the_address_of_a_virtual_host_follows_through_to_every_rule_that_names_it() -> None:
    moved = {"wan": ["wan", "198.51.100.222/24"], "lan": ["lan", "192.168.1.1/24"]}
    before, after = (str(fragment(config(EVERYTHING, **each))) for each in ({}, {"vips": moved}))
    assert before.replace("2001:db8:ffff::200", "").count("198.51.100.200") == after.count("198.51.100.222")
