"""The rules: which are where, what they leave alone, and that names agree with what other plugins are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.plugin import Fragment, Hook, Stage
from appliance_gateways.config import GatewaysConfig
from appliance_gateways.numbers import numbers
from appliance_gateways.ruleset import fragment, seed
from tests.unit.plugins.gateways.samples import BALANCED, EXAMPLE, SIX_GW, TWO, config_of

NUMBER = numbers(EXAMPLE["gateway"])


def texts(made: Fragment, hook: Hook, stage: Stage) -> list[str]:
    return [r.text for each in made.hooked if (each.hook, each.stage) == (hook, stage) for r in each.rules]


def chain(name: str, values: Mapping[str, Any] = EXAMPLE) -> list[str]:
    (found,) = [each for each in fragment(config_of(values)).chains if each.name == name]
    return [rule.text for rule in found.rules]


def test_what_comes_in_from_a_wan_is_remembered_and_never_marked() -> None:
    rules = texts(fragment(config_of()), Hook.POLICY, Stage.STATE)
    mark = NUMBER["wan_gw"]
    assert rules[0] == (
        "iifname @if_wan meta nfproto ipv4 ct state new ct mark and 0xff == 0x0 "
        f"ct mark set ct mark and 0xffffff00 or 0x{mark:x} counter name gw_in_wan_gw"
    )
    assert rules[3:5] == ["iifname @if_wan accept", "iifname @if_wan2 accept"]
    assert not any("meta mark set" in rule for rule in rules[:5])


def test_what_comes_from_inside_follows_its_connection_unless_it_is_local() -> None:
    assert texts(fragment(config_of()), Hook.POLICY, Stage.STATE)[5:] == [
        "ip daddr != @local_v4 ct mark and 0xff != 0x0 meta mark set ct mark and 0xff accept",
        "ip6 daddr != @local_v6 ct mark and 0xff != 0x0 meta mark set ct mark and 0xff accept",
    ]


def test_new_connections_that_no_rule_sent_elsewhere_take_the_default() -> None:
    assert texts(fragment(config_of()), Hook.POLICY, Stage.DEFAULT) == [
        "meta nfproto ipv4 ct state new ct mark and 0xff == 0x0 goto gw_to_balanced",
        "meta nfproto ipv6 ct state new ct mark and 0xff == 0x0 goto gw_to_six",
    ]
    assert texts(fragment(config_of({"gateway": TWO})), Hook.POLICY, Stage.DEFAULT) == []


def test_answers_of_the_node_leave_by_the_wan_of_the_question_and_probes_by_their_own() -> None:
    first, *others = texts(fragment(config_of()), Hook.POLICY_LOCAL, Stage.STATE)
    assert first == "ct mark and 0xff != 0x0 meta mark set ct mark and 0xff"
    assert all("meta mark 0x0" in rule for rule in others)
    assert others[1].startswith('oifname "wan20" meta nfproto ipv4')


def test_connections_by_the_main_table_stay_with_the_wan_they_leave_by() -> None:
    rules = texts(fragment(config_of()), Hook.FORWARD, Stage.STATE)
    assert rules[0] == (
        'oifname "wan0" meta nfproto ipv4 ct state new ct mark and 0xff == 0x0 ip daddr != @local_v4 '
        f"ct mark set ct mark and 0xffffff00 or 0x{NUMBER['wan_gw']:x}"
    )
    assert len(rules) == 3


def test_a_gateway_leaves_local_networks_and_the_other_family_alone() -> None:
    assert chain("gw_to_wan_gw") == [
        "ip daddr @local_v4 counter name gw_local return",
        "ip6 daddr @local_v6 counter name gw_local return",
        "fib daddr type { local, broadcast, multicast } counter name gw_local return",
        "meta nfproto ipv6 return",
        "counter name gw_new_wan_gw goto gw_use_wan_gw",
    ]
    mark = f"0x{NUMBER['wan_gw']:x}"
    assert chain("gw_use_wan_gw") == [f"ct mark set ct mark and 0xffffff00 or {mark} meta mark set {mark}"]


def test_a_group_hashes_ports_where_there_are_some_and_looks_its_slot_up() -> None:
    rules = chain("gw_to_balanced")
    how = f"mod 64 seed 0x{seed('balanced'):x}"
    assert rules[4:] == [
        "meta nfproto ipv4 meta l4proto { tcp, udp, udplite, sctp, dccp } "
        f"meta mark set jhash ip saddr . ip daddr . th sport {how}",
        "meta nfproto ipv4 meta l4proto != { tcp, udp, udplite, sctp, dccp } "
        f"meta mark set jhash ip saddr . ip daddr {how}",
        "meta mark set meta mark map @gw_group_balanced counter name gw_new_balanced goto gw_pick_balanced",
        "meta mark set 0x0",
    ]
    wan, wan2 = NUMBER["wan_gw"], NUMBER["wan2_gw"]
    assert chain("gw_pick_balanced") == [
        f"meta mark vmap {{ 0x{wan2:x} : goto gw_use_wan2_gw, 0x{wan:x} : goto gw_use_wan_gw }}"
    ]


def test_a_sticky_group_hashes_the_source_only() -> None:
    values = {"gateway": {"six": SIX_GW}, "group": {"g": {"members": [{"gateway": "six"}], "sticky": True}}}
    assert f"meta nfproto ipv6 meta mark set jhash ip6 saddr mod 64 seed 0x{seed('g'):x}" in chain("gw_to_g", values)
    assert not any("sport" in rule for rule in chain("gw_to_g", values))


def test_maps_are_filled_by_the_service() -> None:
    (made,) = fragment(config_of()).sets
    assert (made.name, made.key, made.value, made.kept, made.elements) == (
        "gw_group_balanced",
        "mark",
        "mark",
        True,
        (),
    )


def test_every_chain_that_others_are_told_of_exists_and_every_counter_is_declared() -> None:
    made = fragment(config_of())
    names = [each.name for each in made.chains]
    assert set(GatewaysConfig.model_validate(EXAMPLE).policies().values()) <= set(names)
    assert len(set(names)) == len(names)
    every = [r.text for rules in (*(h.rules for h in made.hooked), *(c.rules for c in made.chains)) for r in rules]
    counters = {text.partition("counter name ")[2].split()[0] for text in every if "counter name " in text}
    assert counters == set(made.counters)
    jumps = {
        word for text in every for before, word in zip(text.split(), text.split()[1:], strict=False) if before == "goto"
    }
    assert {jump.strip(",") for jump in jumps} <= set(names)


def test_the_seed_comes_from_the_name_and_is_never_0() -> None:
    assert seed("balanced") == seed("balanced") != seed("other")
    assert all(seed(name) & 1 for name in ("a", "b", "c", "d"))


def test_without_gateways_there_is_nothing() -> None:
    made = fragment(config_of({}))
    assert all(each.rules == () for each in made.hooked)
    assert (made.chains, made.sets) == ((), ())


def test_a_group_without_members_makes_no_chain_that_nft_would_refuse() -> None:
    names = [
        each.name for each in fragment(config_of({"gateway": TWO, "group": {"empty": {}, "full": BALANCED}})).chains
    ]
    assert "gw_pick_empty" not in names
    assert "gw_pick_full" in names
