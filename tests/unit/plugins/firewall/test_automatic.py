"""What passes or is dropped without a rule of the operator."""

from __future__ import annotations

from typing import Any

from appliance.config import Config
from appliance.plugin import Hook, Stage
from appliance_firewall.automatic import BOGONS, PRIVATE, Automatic, automatic, invalid, kinds, lockout, unroutable_sets
from appliance_firewall.config import FirewallConfig
from appliance_firewall.resolve import world_of
from tests.unit.plugins.firewall.paper import Cluster, config_of


def automatics(config: Config) -> tuple[Automatic, ...]:
    return automatic(config, world_of(config))


def named(counter: str, *, cluster: Cluster | None = None, **table: Any) -> Automatic:
    (found,) = [each for each in automatics(config_of(cluster=cluster, **table)) if each.counter == counter]
    return found


def texts(each: Automatic, hook: Hook) -> list[str]:
    return [line.text for line in each.lines if line.hook is hook]


def counters(cluster: Cluster | None = None, **table: Any) -> list[str]:
    return [each.counter for each in automatics(config_of(cluster=cluster, **table))]


IPV6 = ["fw_auto_ipv6_errors", "fw_auto_ipv6_nd", "fw_auto_ipv6_mld"]


def test_the_services_of_the_nodes_and_ping_between_them_pass() -> None:
    assert counters() == [*IPV6, "fw_auto_carp_wan", "fw_auto_pfsync_sync", "fw_auto_ping_sync"]


def test_traffic_comes_in_as_its_service_says_and_leaves_whatever_the_rules_say() -> None:
    carp = named("fw_auto_carp_wan")
    match = "meta nfproto ipv4 meta l4proto 112"
    assert texts(carp, Hook.INPUT) == [
        f"iifname @if_wan {match} ip saddr 198.51.100.0/24 ip daddr 224.0.0.18 counter name fw_auto_carp_wan accept"
    ]
    assert texts(carp, Hook.OUTPUT) == [f'oifname "wan0" {match} ip daddr 224.0.0.18 accept']
    assert carp.text == "pass in on wan carp from 198.51.100.0/24 to 224.0.0.18"


def test_traffic_from_anywhere_is_of_both_families() -> None:
    assert texts(named("fw_auto_pfsync_sync"), Hook.INPUT) == [
        "iifname @if_sync meta nfproto ipv4 meta l4proto 240 counter name fw_auto_pfsync_sync accept",
        "iifname @if_sync meta nfproto ipv6 meta l4proto 240 counter name fw_auto_pfsync_sync accept",
    ]


def test_a_port_is_part_of_the_match_and_of_the_name() -> None:
    sync = named("fw_auto_config_sync_sync_8443", cluster=Cluster(traffic=("config",)))
    assert "meta l4proto 6 th dport 8443" in texts(sync, Hook.INPUT)[0]
    assert sync.text == "pass in on sync tcp from any to self port 8443"


def test_two_of_one_name_have_counters_of_their_own() -> None:
    found = counters(Cluster(traffic=("carp", "carp")))
    assert {"fw_auto_carp_wan", "fw_auto_carp_wan.2"} <= set(found)


def test_traffic_at_an_interface_that_does_not_exist_is_nothing() -> None:
    assert counters(Cluster(traffic=("elsewhere",))) == [*IPV6, "fw_auto_ping_sync"]


def sources(each: Automatic) -> str:
    return each.text.partition(" from ")[2].partition(" to ")[0]


def test_nodes_ping_each_other_from_their_addresses_as_far_as_these_are_known() -> None:
    assert sources(named("fw_auto_ping_sync")) == "172.16.1.0/24"
    assert sources(named("fw_auto_ping_sync", cluster=Cluster(peers=("172.16.1.3",)))) == "172.16.1.3, 172.16.1.2"
    assert sources(named("fw_auto_ping_sync", nodes=["172.16.1.2", "172.16.1.3"])) == "172.16.1.2, 172.16.1.3"
    assert texts(named("fw_auto_ping_sync"), Hook.INPUT) == [
        "iifname @if_sync icmp type echo-request ip saddr 172.16.1.0/24 counter name fw_auto_ping_sync accept"
    ]


def test_nodes_of_both_families_ping_with_both() -> None:
    ping = named("fw_auto_ping_sync", nodes=["172.16.1.2", "fd00::2"])
    assert [text.partition(" counter")[0] for text in texts(ping, Hook.INPUT)] == [
        "iifname @if_sync icmp type echo-request ip saddr 172.16.1.2",
        "iifname @if_sync icmpv6 type echo-request ip6 saddr fd00::2",
    ]


def test_on_the_sync_interface_everything_is_between_the_nodes_that_are_listed() -> None:
    table: dict[str, Any] = {"nodes": ["172.16.1.2", "172.16.1.3"]}
    assert sources(named("fw_auto_pfsync_sync", **table)) == "172.16.1.2, 172.16.1.3"
    assert "ip saddr 172.16.1.2/31" in texts(named("fw_auto_pfsync_sync", **table), Hook.INPUT)[0]
    assert sources(named("fw_auto_carp_wan", **table)) == "198.51.100.0/24", "elsewhere the nodes have other addresses"


def test_without_a_sync_interface_there_is_no_ping() -> None:
    assert "fw_auto_ping_sync" not in counters(Cluster(sync=""))


def test_own_rules_replace_a_kind_or_all_kinds() -> None:
    assert counters(replace=["carp", "ipv6"]) == ["fw_auto_pfsync_sync", "fw_auto_ping_sync"]
    assert counters(automatic=False, block_private=["wan"]) == ["fw_private_wan"]


def test_the_kinds_that_can_be_replaced_are_those_that_there_are() -> None:
    config = config_of(replace=["carp"], cluster=Cluster(traffic=("carp",)))
    assert kinds(config, world_of(config)) == {"ipv6", "carp", "ping"}


def test_ipv6_has_its_neighbours_errors_and_listeners() -> None:
    errors, neighbours, listeners = (named(each) for each in IPV6)
    assert [line.hook for line in errors.lines] == [Hook.INPUT, Hook.FORWARD, Hook.OUTPUT]
    assert "packet-too-big" in errors.lines[0].text
    assert [line.hook for line in neighbours.lines] == [Hook.INPUT, Hook.OUTPUT]
    assert neighbours.lines[0].text.startswith("ip6 hoplimit 255 icmpv6 type { nd-router-solicit, ")
    assert listeners.lines[0].text.startswith("ip6 saddr { ::, fe80::/10 } icmpv6 type { mld-listener-query, ")


def test_what_ipv6_needs_comes_before_the_rule_for_invalid_packets() -> None:
    assert {line.stage for line in named(IPV6[0]).lines if line.hook is not Hook.OUTPUT} == {Stage.STATE}
    assert [line.text for line in invalid().lines] == ["ct state invalid counter name fw_invalid drop"] * 2


def lines_of_lockout(cluster: Cluster | None = None, **table: Any) -> list[str]:
    config = config_of(cluster=cluster, **table)
    found = lockout(config[FirewallConfig], world_of(config))
    return [line.text for line in found.lines if line.stage is Stage.NEVER] if found else []


def test_nothing_locks_the_operator_out_of_the_lan() -> None:
    assert lines_of_lockout() == ["iifname @if_lan meta l4proto 6 th dport { 22, 443 } counter name fw_lockout accept"]
    assert "@if_dmz" in lines_of_lockout(anti_lockout="dmz")[0]
    assert lines_of_lockout(anti_lockout="") == []


def test_sources_that_cannot_be_are_dropped_except_those_of_the_interfaces_own_networks() -> None:
    found = named("fw_bogons_wan", block_bogons=["wan"], log_default=False)
    match = "iifname @if_wan ip saddr @fw_bogons_v4 ip saddr != 198.51.100.0/24"
    assert texts(found, Hook.INPUT)[0] == f"{match} counter name fw_bogons_wan drop"
    assert texts(found, Hook.INPUT) == texts(found, Hook.FORWARD)
    assert (found.action, found.origin) == ("block", ("firewall", "block_bogons", 0))


def test_what_is_dropped_is_logged_at_a_limited_rate_or_not_at_all() -> None:
    first, second, *_ = texts(named("fw_private_wan", block_private=["wan"]), Hook.INPUT)
    assert first.endswith(
        'limit rate 50/second burst 100 packets log prefix "fw_private_wan:block " group 40 snaplen 128'
    )
    assert second.endswith("counter name fw_private_wan drop")


def test_an_interface_without_addresses_of_a_family_exempts_none() -> None:
    texts_of = texts(named("fw_private_dmz", block_private=["dmz"], log_default=False), Hook.INPUT)
    assert texts_of[1] == "iifname @if_dmz ip6 saddr @fw_private_v6 counter name fw_private_dmz drop"


def test_the_nodes_services_pass_before_impossible_sources_are_dropped() -> None:
    found = counters(block_bogons=["wan"], block_private=["wan", "nowhere"])
    assert found[-2:] == ["fw_bogons_wan", "fw_private_wan"]


def test_the_lists_are_in_the_ruleset_when_they_are_used() -> None:
    def of(**table: Any) -> dict[str, tuple[str, ...]]:
        return {each.name: each.elements for each in unroutable_sets(FirewallConfig.model_validate(table))}

    assert of() == {}
    assert of(block_bogons=["wan"]) == {"fw_bogons_v4": BOGONS[4], "fw_bogons_v6": BOGONS[6]}
    assert of(block_private=["wan"]) == {"fw_private_v4": PRIVATE[4], "fw_private_v6": PRIVATE[6]}
