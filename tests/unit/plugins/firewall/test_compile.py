"""The firewall's part of the ruleset, and what it decides about packets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from appliance.config import Config
from appliance.net.ruleset import compose
from appliance.plugin import Chain, Fragment, Hook, Stage
from appliance_firewall.compile import (
    Compiler,
    active_rules,
    floating_steps,
    fragment,
    interface_steps,
    policy_steps,
)
from appliance_firewall.config import FirewallConfig
from appliance_firewall.matching import Step
from appliance_firewall.reading import Memory, reading_of
from tests.unit.plugins.firewall.paper import Cluster, Packet, config_of, contents, decision, rule

MAIL = {"mail": {"type": "hosts", "entries": ["192.168.2.10", "2001:db8:2::10"]}}


def hooked(of: Fragment, hook: Hook, stage: Stage) -> list[str]:
    return [each.text for hooks in of.hooked if (hooks.hook, hooks.stage) == (hook, stage) for each in hooks.rules]


def chains(of: Fragment) -> dict[str, list[str]]:
    return {chain.name: [each.text for each in chain.rules] for chain in of.chains}


def compiled(*rules: Mapping[str, Any], **table: Any) -> Fragment:
    return fragment(config_of(*rules, **table))


def decide(config: Config, packet: Packet, interface: str = "lan", direction: str = "in", **more: Any) -> str:
    """The verdict about a packet: floating rules first, then those of the interface; empty: no rule matches."""
    reading = reading_of(config)
    of, rules = reading.world, active_rules(config[FirewallConfig], reading)
    steps: list[Step] = [*floating_steps(rules, of, direction), *interface_steps(rules, direction).get(interface, ())]
    found = decision(steps, packet, contents(of, **more))
    return found.verdict if found is not None else ""


# ------------------------------------------------------------------------------------------ base chains


def test_known_connections_pass_before_any_rule_and_what_belongs_to_none_is_dropped() -> None:
    of = compiled()
    for hook in (Hook.INPUT, Hook.FORWARD):
        first, *_, last = hooked(of, hook, Stage.STATE)
        assert first == "ct state vmap { established : accept, related : accept }"
        assert last == "ct state invalid counter name fw_invalid drop"
    assert hooked(of, Hook.OUTPUT, Stage.STATE) == ["ct state vmap { established : accept, related : accept }"]


def test_nothing_can_lock_an_operator_out_or_break_the_loopback() -> None:
    of = compiled(rule(interface="any", action="block"))
    assert hooked(of, Hook.INPUT, Stage.NEVER) == [
        'iifname "lo" accept',
        "iifname @if_lan meta l4proto 6 th dport { 22, 443 } counter name fw_lockout accept",
    ]
    assert hooked(of, Hook.OUTPUT, Stage.NEVER) == ['oifname "lo" accept']
    assert hooked(compiled(anti_lockout=""), Hook.INPUT, Stage.NEVER) == ['iifname "lo" accept']


def test_what_no_rule_passes_is_counted_logged_and_dropped() -> None:
    limit = "limit rate 50/second burst 100 packets"
    assert hooked(compiled(), Hook.FORWARD, Stage.DEFAULT) == [
        f'{limit} log prefix "fw_default_forward:block " group 40 snaplen 128',
        "counter name fw_default_forward drop",
    ]
    assert hooked(compiled(log_default=False), Hook.INPUT, Stage.DEFAULT) == ["counter name fw_default_in drop"]


def test_without_rules_nothing_is_asked_and_the_node_itself_may_send() -> None:
    of = compiled()
    assert [hooked(of, hook, Stage.USER) for hook in Hook] == [[]] * len(Hook)
    assert hooked(of, Hook.OUTPUT, Stage.DEFAULT) == []
    assert set(chains(of)) == {"fw_reject"}


def test_rules_are_reached_by_the_interface_of_the_packet_and_of_its_virtual_hosts() -> None:
    of = compiled(rule(), rule(interface="wan", direction="out", action="block"))
    assert hooked(of, Hook.INPUT, Stage.USER) == ["jump fw_in"]
    assert hooked(of, Hook.FORWARD, Stage.USER) == ["jump fw_out", "jump fw_in"]
    assert hooked(of, Hook.OUTPUT, Stage.USER) == ["jump fw_out"]
    assert chains(of)["fw_in"] == ['iifname vmap { "lan0" : goto fw_in_lan, "lan0.v1" : goto fw_in_lan }']
    assert chains(of)["fw_out"] == ['oifname vmap { "wan0" : goto fw_out_wan }'], "packets leave on the parent"


def test_floating_rules_are_asked_before_those_of_one_interface() -> None:
    of = compiled(rule(id="one"), rule(interface=["lan", "dmz"], action="block", id="two"))
    first, second = chains(of)["fw_in"]
    assert first == 'iifname { "lan0", "lan0.v1", "dmz0" } counter name fw_r_two drop'
    assert second.startswith("iifname vmap")
    only = chains(compiled(rule(interface="any", id="all")))
    assert only["fw_in"] == ["counter name fw_r_all accept"]


def test_a_floating_rule_for_what_leaves_names_the_devices_by_which_it_does() -> None:
    of = compiled(rule(interface=["lan", "wan"], direction="out", action="block", id="x"))
    assert chains(of)["fw_out"] == ['oifname { "lan0", "wan0" } counter name fw_r_x drop']


@pytest.mark.parametrize(
    ("action", "direction", "verdict"),
    [
        ("pass", "in", "accept"),
        ("block", "in", "drop"),
        ("reject", "in", "goto fw_reject"),
        ("pass", "out", "return"),
        ("block", "out", "drop"),
        ("reject", "out", "goto fw_reject"),
    ],
)
def test_each_action_has_its_verdict(action: str, direction: str, verdict: str) -> None:
    of = compiled(rule(action=action, direction=direction, id="x"))
    assert chains(of)[f"fw_{direction}_lan"] == [f"counter name fw_r_x {verdict}"]


def test_a_rejected_connection_is_told_so() -> None:
    assert chains(compiled())["fw_reject"] == [
        "meta l4proto 6 reject with tcp reset",
        "reject with icmpx admin-prohibited",
    ]


def test_a_rule_that_logs_names_itself_and_what_it_does() -> None:
    of = compiled(rule(action="block", log=True, id="x"))
    limit = "limit rate 50/second burst 100 packets"
    assert chains(of)["fw_in_lan"] == [
        f'{limit} log prefix "fw_r_x:block " group 40 snaplen 128',
        "counter name fw_r_x drop",
    ]
    (chain,) = [each for each in of.chains if each.name == "fw_in_lan"]
    assert {each.origin for each in chain.rules} == {("firewall", "rule", 0)}


def test_a_disabled_rule_is_not_there() -> None:
    of = compiled(rule(disabled=True, id="x"))
    assert "fw_in" not in chains(of)
    assert "fw_r_x" not in of.counters


# ------------------------------------------------------------------------------------------ decisions


def test_the_first_rule_that_matches_decides() -> None:
    config = config_of(
        rule(protocol="tcp", destination_port=25, action="reject"),
        rule(source="net:lan", destination="!mail"),
        rule(action="block"),
        alias=MAIL,
    )
    assert decide(config, Packet(destination_port=25)) == "goto fw_reject"
    assert decide(config, Packet()) == "accept"
    assert decide(config, Packet(destination="192.168.2.10")) == "drop"
    assert decide(config, Packet(source="10.9.9.9")) == "drop"
    assert decide(config, Packet(source="2001:db8:1::10", destination="2001:db8::1")) == "accept"
    assert decide(config, Packet(source="2001:db8:1::10", destination="2001:db8:2::10")) == "drop"


def test_a_floating_rule_decides_before_an_earlier_one_of_the_interface() -> None:
    config = config_of(rule(), rule(interface=["lan", "dmz"], protocol="tcp", action="block"))
    assert decide(config, Packet(protocol=6)) == "drop"
    assert decide(config, Packet(protocol=17)) == "accept"
    assert decide(config, Packet(device_in="dmz0"), "dmz") == "drop"


def test_packets_to_a_virtual_mac_meet_the_same_rules() -> None:
    config = config_of(rule(interface=["lan", "dmz"], action="block"))
    assert decide(config, Packet(device_in="lan0.v1")) == "drop"


def test_a_rule_with_a_schedule_is_passed_over_outside_of_it() -> None:
    config = config_of(rule(schedule="office"), schedule={"office": {"times": ["08:00-17:00"]}})
    assert decide(config, Packet(), schedules=["office"]) == "accept"
    assert decide(config, Packet()) == ""


def test_pinging_is_of_both_families() -> None:
    config = config_of(rule(protocol="icmp", icmp_types=["echo-request"]))
    assert decide(config, Packet(protocol=1, icmp="echo-request")) == "accept"
    assert decide(config, Packet(protocol=1, icmp="redirect")) == ""
    assert decide(config, Packet(source="fe80::1", destination="::1", protocol=58, icmp="echo-request")) == "accept"


# ------------------------------------------------------------------------------------------ gateways


def policy(*rules: Mapping[str, Any], interface: str = "lan", **table: Any) -> list[str]:
    config = config_of(*rules, **table)
    reading = reading_of(config)
    rules_ = active_rules(config[FirewallConfig], reading)
    return [step.verdict for step in policy_steps(rules_, interface, reading.world)]


def test_the_rule_that_decides_chooses_the_gateway() -> None:
    rules = (
        rule(protocol="tcp", action="block"),
        rule(source="192.168.1.0/25", gateway="balance"),
        rule(protocol="udp"),
        rule(gateway="wan_gw"),
        rule(),
    )
    assert policy(*rules) == ["return", "goto gateway_balance", "return", "goto gateway_wan_gw"]


def test_floating_rules_come_first_there_too_and_count_at_their_interfaces_only() -> None:
    rules = (rule(gateway="wan_gw"), rule(interface=["lan", "wan"], action="block"), rule(interface="dmz"))
    assert policy(*rules) == ["return", "goto gateway_wan_gw"]
    assert policy(*rules, interface="dmz") == []
    assert policy(rule(interface=["lan", "dmz"], gateway="balance"), interface="dmz") == ["goto gateway_balance"]


def test_rules_about_what_leaves_choose_nothing() -> None:
    assert policy(rule(direction="out"), rule(gateway="wan_gw")) == ["goto gateway_wan_gw"]


def test_only_new_connections_to_elsewhere_are_sent_to_a_gateway() -> None:
    of = compiled(rule(gateway="wan_gw", source="net:lan", family="ipv6", log=True))
    assert chains(of)["fw_policy_lan"] == [
        "ct state != new return",
        "fib daddr type != unicast return",
        "ip daddr @local_v4 return",
        "ip6 daddr @local_v6 return",
        "ip6 saddr 2001:db8:1::/64 goto gateway_wan_gw",
    ]
    assert hooked(of, Hook.POLICY, Stage.USER) == [
        'iifname vmap { "lan0" : jump fw_policy_lan, "lan0.v1" : jump fw_policy_lan }'
    ]


def test_without_gateways_in_rules_routing_is_left_alone() -> None:
    assert hooked(compiled(rule()), Hook.POLICY, Stage.USER) == []


# ------------------------------------------------------------------------------------------ sets and counters


def sets(of: Fragment) -> dict[str, tuple[str, ...]]:
    return {each.name: each.elements for each in of.sets}


def test_every_alias_is_a_set_of_each_family() -> None:
    of = compiled(alias=MAIL | {"web": {"type": "ports", "entries": [80, "1000-2000"]}, "nobody": {"type": "hosts"}})
    assert sets(of) == {
        "alias_mail_v4": ("192.168.2.10",),
        "alias_mail_v6": ("2001:db8:2::10",),
        "alias_web_port": ("80", "1000-2000"),
        "alias_nobody_v4": (),
        "alias_nobody_v6": (),
    }
    assert {each.origin for each in of.sets if "mail" in each.name} == {("firewall", "alias", "mail")}


def test_lists_with_aliases_are_one_set_that_equal_lists_share() -> None:
    words = ["mail", "10.0.0.0/8"]
    alias = MAIL | {"web": {"type": "ports", "entries": [80]}}
    of = compiled(
        rule(source=words, family="ipv4"),
        rule(interface="dmz", destination=words, family="ipv4"),
        rule(interface="wan", protocol="tcp", destination_port=["web", 443]),
        alias=alias,
    )
    made = {name: elements for name, elements in sets(of).items() if name.startswith("fw_set_")}
    assert sorted(made.values()) == [("10.0.0.0/8", "192.168.2.10"), ("80", "443")]


def test_a_schedule_is_a_set_that_its_service_keeps() -> None:
    of = compiled(schedule={"office": {}})
    (made,) = of.sets
    assert (made.name, made.key, made.kept, made.elements) == ("fw_schedule_office", "nf_proto", True, ())


def test_many_rules_of_one_shape_are_one_lookup() -> None:
    of = compiled(*(rule(interface="wan", action="block", source=f"192.0.2.{n}") for n in range(50)))
    assert chains(of)["fw_in_wan"] == [
        "counter name ip saddr map @fw_counters_in_wan_0 ip saddr vmap @fw_verdicts_in_wan_0"
    ]
    assert len(sets(of)["fw_verdicts_in_wan_0"]) == 50
    assert sum(name.startswith("fw_h_") for name in of.counters) == 50


def test_every_counter_that_is_used_is_declared_once() -> None:
    of = compiled(
        rule(), rule(), rule(interface="any", action="reject"), block_bogons=["wan"], block_private=["wan", "dmz"]
    )
    rules = [each for chain in of.chains for each in chain.rules]
    rules += [each for hooks in of.hooked for each in hooks.rules]
    used = {each.text.partition("counter name ")[2].split()[0] for each in rules if "counter name" in each.text}
    assert used == set(of.counters)
    assert len(of.counters) == len(set(of.counters))


def test_every_rule_of_an_operator_leads_back_to_its_line() -> None:
    of = compiled(rule(disabled=True), rule(source="net:lan"), rule(interface="any", action="block"))
    origins = {each.origin for chain in of.chains for each in chain.rules if each.origin}
    assert origins == {("firewall", "rule", 1), ("firewall", "rule", 2)}


def test_the_same_configuration_makes_the_same_ruleset() -> None:
    rules = [rule(source=["mail", f"10.0.0.{n}"]) for n in range(5)]
    assert compiled(*rules, alias=MAIL) == compiled(*rules, alias=MAIL)


def test_it_fits_into_one_table() -> None:
    made = compose([("firewall", compiled(rule(), rule(direction="out"), alias=MAIL, block_bogons=["wan"]))])
    assert {each.name for each in made.objects} > {"fw_in", "fw_out", "fw_bogons_v4", "alias_mail_v4", "fw_lockout"}


def test_an_interface_that_other_tables_do_not_have_is_passed_over() -> None:
    of = compiled(rule(interface="dmz"), rule(interface=["lan", "dmz"], id="x"), cluster=Cluster(names=("lan",)))
    assert chains(of)["fw_in"] == ['iifname { "lan0", "lan0.v1" } counter name fw_r_x accept']


def test_rules_that_do_the_same_are_not_compiled_again() -> None:
    compiler, memory = Compiler(), Memory()

    def chains_of(*rules: Mapping[str, Any], **table: Any) -> tuple[Chain, ...]:
        config = config_of(*rules, **table)
        found = compiler.fragment(config, memory.reading(config))
        assert found == fragment(config)  # as if for the first time
        return found.chains

    first = chains_of(rule(), rule(action="block", source="10.0.0.1"))
    assert chains_of(rule(), rule(action="block", source="10.0.0.1", description="why")) is first
    assert chains_of(rule(), rule(action="block", source="10.0.0.2")) is not first
    aliases = {"many": {"type": "hosts", "entries": ["10.1.0.1"]}}
    with_alias = chains_of(rule(source=["many", "10.2.0.1"]), alias=aliases)
    aliases["many"]["entries"] = ["10.1.0.9"]
    assert chains_of(rule(source=["many", "10.2.0.1"]), alias=aliases) is not with_alias
