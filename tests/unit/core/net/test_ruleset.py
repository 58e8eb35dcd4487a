"""One table of many fragments, and the transaction that turns one ruleset into the next."""

from __future__ import annotations

import pytest

from appliance.errors import PluginError
from appliance.net.ruleset import BASES, MARKER, base_chain, compose, transaction
from appliance.plugin import Chain, Fragment, Hook, Hooked, Rule, Set, Stage


def rules(hook: Hook, stage: Stage, *texts: str) -> Hooked:
    return Hooked(hook=hook, stage=stage, rules=tuple(Rule(text=text, origin=("x", text)) for text in texts))


FORWARD = Hook.FORWARD
ONE = Fragment(hooked=(rules(FORWARD, Stage.USER, "accept"),), counters=("one_hits",))
TWO = Fragment(
    hooked=(rules(FORWARD, Stage.STATE, "ct state established accept"), rules(FORWARD, Stage.USER, "drop")),
    chains=(Chain(name="two_lan", rules=(Rule(text="return"),)),),
    sets=(
        Set(name="two_hosts", key="ipv4_addr", flags="interval", elements=("10.0.0.0/8", "192.0.2.1")),
        Set(name="two_kept", key="mark", value="mark", kept=True),
    ),
)


def test_rules_stand_by_stage_and_then_by_plugin() -> None:
    text = compose([("one", ONE), ("two", TWO)]).text
    order = [text.index(each) for each in ("ct state established accept", "        accept", "        drop")]
    assert order == sorted(order)
    assert compose([("one", ONE), ("two", TWO)]).rules == 4


def test_only_hooks_with_rules_become_chains() -> None:
    text = compose([("one", ONE)]).text
    assert "type filter hook forward priority filter; policy accept;" in text
    assert [hook for hook in Hook if base_chain(hook) in text] == [FORWARD]
    assert BASES.keys() == set(Hook)


def test_equal_fragments_make_equal_rulesets_wherever_they_are_written_in_the_file() -> None:
    moved = Fragment(
        hooked=(Hooked(hook=FORWARD, stage=Stage.USER, rules=(Rule(text="accept", origin=("y", 9)),)),),
        counters=("one_hits",),
    )
    assert compose([("one", ONE)]) == compose([("one", moved)])
    assert compose([("one", ONE)]) != compose([("one", TWO)])


def test_a_name_belongs_to_one_plugin() -> None:
    with pytest.raises(PluginError) as error:
        compose([("two", TWO), ("three", Fragment(counters=("two_hosts",)))])
    assert "'two_hosts'" in error.value.message
    assert "three (counter) and two (set)" in error.value.message


def test_a_rule_is_one_line() -> None:
    with pytest.raises(PluginError, match="more than one line"):
        compose([("bad", Fragment(hooked=(rules(FORWARD, Stage.USER, "accept\ndrop"),)))])


def test_the_first_load_replaces_whatever_is_there() -> None:
    text = transaction(compose([("two", TWO)]), None).text
    assert text.startswith("add table inet appliance\ndelete table inet appliance\ntable inet appliance {\n")


def test_the_next_load_keeps_counters_base_chains_and_what_services_fill() -> None:
    both = compose([("one", ONE), ("two", TWO)])
    head = transaction(both, both).text.partition("table inet appliance {")[0].splitlines()
    assert head == [
        "add table inet appliance",
        "flush table inet appliance",
        f"flush set inet appliance {MARKER}",
        "flush set inet appliance two_hosts",
    ]


def test_what_is_no_longer_wanted_is_deleted_maps_before_chains_before_counters() -> None:
    both = compose([("one", ONE), ("two", TWO)])
    head = transaction(compose([]), both).text.partition("table inet appliance {")[0].splitlines()
    assert head[2:] == [
        f"flush set inet appliance {MARKER}",
        "flush set inet appliance two_hosts",
        "flush map inet appliance two_kept",
        "delete set inet appliance two_hosts",
        "delete map inet appliance two_kept",
        "delete chain inet appliance two_lan",
        "delete chain inet appliance hook_forward",
        "delete counter inet appliance one_hits",
    ]


def test_a_set_of_another_type_is_made_anew() -> None:
    before = compose([("two", TWO)])
    other = Fragment(sets=(Set(name="two_hosts", key="ipv6_addr", flags="interval"),))
    assert "delete set inet appliance two_hosts" in transaction(compose([("two", other)]), before).text


@pytest.mark.parametrize("before", [None, compose([("two", TWO)])], ids=["first", "next"])
def test_every_line_of_the_text_knows_the_key_it_comes_from(before: object) -> None:
    made = compose([("one", ONE), ("two", TWO)])
    text = transaction(made, before)  # type: ignore[arg-type]
    lines = text.text.splitlines()
    assert text.origin(made, lines.index("    drop") + 1) == ("x", "drop")
    assert text.origin(made, 1) == ()
    assert text.origin(made, len(lines) + 5) == ()
