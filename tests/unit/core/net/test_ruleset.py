"""One table of many fragments, and the transaction that turns one ruleset into the next."""

from __future__ import annotations

import re

import pytest

from appliance.errors import PluginError
from appliance.net.ruleset import BASES, Composer, Ruleset, base_chain, compose, transaction
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
    assert "two (set) and three (counter)" in error.value.message


def test_a_rule_is_one_line() -> None:
    with pytest.raises(PluginError, match="more than one line"):
        compose([("bad", Fragment(hooked=(rules(FORWARD, Stage.USER, "accept\ndrop"),)))])


def test_the_first_load_replaces_whatever_is_there() -> None:
    text = transaction(compose([("two", TWO)]), None).text
    assert text.startswith("add table inet appliance\ndelete table inet appliance\ntable inet appliance {\n")


def head(wanted: Ruleset, before: Ruleset) -> list[str]:
    return transaction(wanted, before).text.partition("table inet appliance {")[0].splitlines()


def test_the_next_load_touches_nothing_whose_contents_stay() -> None:
    both = compose([("one", ONE), ("two", TWO)])
    assert head(both, both) == ["add table inet appliance", "flush table inet appliance"]
    assert "two_hosts" not in transaction(both, both).text, "its elements are in the kernel already"
    assert "chain hook_forward {" in transaction(both, both).text


def test_of_a_set_with_other_elements_only_those_that_differ_come_and_go() -> None:
    more = Fragment(
        sets=(Set(name="two_hosts", key="ipv4_addr", flags="interval", elements=("192.0.2.9", "10.0.0.0/8")),)
    )
    made = transaction(compose([("two", more)]), compose([("two", TWO)]))
    assert "delete element inet appliance two_hosts { 192.0.2.1 }" in made.text
    assert "    192.0.2.9,\n}; }" in made.text
    assert "10.0.0.0/8" not in made.text
    assert "flush set" not in made.text
    assert made.prepare == ""


def test_what_is_no_longer_wanted_is_deleted_maps_before_chains_before_counters() -> None:
    both = compose([("one", ONE), ("two", TWO)])
    assert head(compose([]), both)[2:] == [
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


def test_a_new_set_with_intervals_is_made_before_the_rules_that_use_it() -> None:
    made = transaction(compose([("one", ONE), ("two", TWO)]), compose([("one", ONE)]))
    assert "        10.0.0.0/8," in made.prepare or "    10.0.0.0/8," in made.prepare
    assert "two_hosts" not in made.text
    assert "add chain inet appliance two_lan" in made.prepare
    assert made.undo.splitlines() == ["delete set inet appliance two_hosts", "delete chain inet appliance two_lan"]


def test_anonymous_sets_with_ranges_become_named_ones_that_equal_rules_share() -> None:
    texts = (
        "th dport { 22, 1000-2000 } accept",
        "tcp dport { 22, 1000-2000 } drop",
        "ip saddr != { 10.0.0.0/8, 192.0.2.1 } th sport { 1, 2 } drop",
        "ip6 daddr { 2001:db8::/32 } accept",
    )
    made = compose([("x", Fragment(hooked=(rules(FORWARD, Stage.USER, *texts),)))])
    text = made.text
    (ports,) = set(re.findall(r"th dport @(range_\w+) accept", text))
    assert f"tcp dport @{ports} drop" in text
    assert f"set {ports} {{ type inet_service; flags interval; elements = {{" in text
    assert re.search(r"ip saddr != @range_\w+ th sport \{ 1, 2 \} drop", text), "exact ones may stay"
    assert re.search(r"set range_\w+ \{ type ipv6_addr; flags interval;", text)
    assert text.index("set range_") < text.index("chain hook_forward")


@pytest.mark.parametrize("before", [None, compose([("two", TWO)])], ids=["first", "next"])
def test_every_line_of_the_text_knows_the_key_it_comes_from(before: Ruleset | None) -> None:
    text = transaction(compose([("one", ONE), ("two", TWO)]), before)
    lines = text.text.splitlines()
    assert text.origin(lines.index("    drop") + 1) == ("x", "drop")
    assert text.origin(1) == ()
    assert text.origin(len(lines) + 5) == ()


def test_a_line_of_the_preparation_knows_its_key_too() -> None:
    fragment = Fragment(
        sets=(Set(name="hosts", key="ipv4_addr", flags="interval", elements=("bad",), origin=("alias", "a")),)
    )
    text = transaction(compose([("x", fragment)]), compose([]))
    line = text.prepare.splitlines().index("    bad,") + 1
    assert text.origin(line, prepared=True) == ("alias", "a")


def test_equal_fragments_are_composed_once() -> None:
    composer = Composer()
    one = [("a", Fragment(chains=(Chain(name="x", rules=(Rule(text="accept"),)),)))]
    other = [("a", Fragment(chains=(Chain(name="x", rules=(Rule(text="drop"),)),)))]
    first = composer.compose(one)
    assert composer.compose([*one]) is first
    assert composer.compose(other) == compose(other) != first
    assert composer.compose(one) == first
