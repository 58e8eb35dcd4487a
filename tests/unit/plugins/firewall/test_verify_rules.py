"""What is refused in one rule; each problem names its key and what would be right."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.errors import Problem
from appliance_firewall.config import RuleTable
from appliance_firewall.resolve import world_of
from appliance_firewall.sides import Reader
from appliance_firewall.verify_rules import verify_rule
from tests.unit.plugins.firewall.paper import config_of, rule

ALIASES = {
    "mail": {"type": "hosts", "entries": ["192.168.2.10"]},
    "six": {"type": "hosts", "entries": ["2001:db8:2::10"]},
    "web": {"type": "ports", "entries": [80]},
    "nobody": {"type": "hosts"},
    "none": {"type": "ports"},
    "wrong": {"type": "hosts", "entries": ["x y"]},
    "wrong_ports": {"type": "ports", "entries": [0]},
}


def problems(*, has_gateways: bool = True, **values: Any) -> list[Problem]:
    of = world_of(config_of(alias=ALIASES, schedule={"office": {}}, has_gateways=has_gateways))
    made = RuleTable.model_validate(rule(**values))
    return verify_rule(made, Reader(of).sides(made), of)


@pytest.mark.parametrize(
    "values",
    [
        {"source": ["net:lan", "vip:lan", "10.0.0.0/8"], "destination": "!mail"},
        {"protocol": "tcp", "destination_port": "web", "gateway": "balance"},
        {"protocol": "icmp", "family": "ipv6", "icmp_types": ["packet-too-big", "echo-request"]},
        {"interface": ["lan", "dmz"], "gateway": "wan_gw"},
        {"protocol": 47, "schedule": "office"},
        {"source": "!nobody", "protocol": "udp", "destination_port": "!none"},
        {"source": ["10.0.0.1", "2001:db8::1"], "destination": "2001:db8::2", "family": "ipv6"},
    ],
)
def test_rules_that_make_sense_have_no_problems(values: dict[str, Any]) -> None:
    assert problems(**values) == []


@pytest.mark.parametrize(
    ("values", "path", "said"),
    [
        ({"interface": "lam"}, ("interface",), "there is no interface 'lam'; did you mean 'lan'?"),
        ({"interface": ["lan", "lam"]}, ("interface", 1), "there is no interface 'lam'"),
        ({"interface": ["any", "lan"]}, ("interface", 0), "any includes all other interfaces"),
        ({"source": "mial"}, ("source",), "there is no alias 'mial'"),
        ({"source": ["mail", "mial"]}, ("source", 1), "there is no alias 'mial'"),
        ({"source": "web"}, ("source",), "web is an alias of ports"),
        ({"destination": "vip:mail"}, ("destination",), "there is no virtual host 'mail'"),
        ({"destination": "10.0.0.9-10.0.0.1"}, ("destination",), "reversed"),
        ({"destination": "10.0.0.9-::1"}, ("destination",), "begins with IPv4 and ends with IPv6"),
        ({"destination": "!any"}, ("destination",), "matches nothing"),
        ({"protocol": "tpc"}, ("protocol",), "there is no protocol 'tpc'; there are ah, any, carp"),
        ({"protocol": 300}, ("protocol",), "numbers from 0 to 255"),
        ({"protocol": "tpc", "source_port": 1}, ("protocol",), "there is no protocol"),
        ({"protocol": "icmpv6", "family": "ipv4"}, ("protocol",), "not a protocol of IPv4"),
        ({"protocol": "icmpv6", "source": "10.0.0.1"}, ("protocol",), "the addresses are of IPv4"),
        ({"destination_port": 80}, ("destination_port",), "a port needs a protocol: one of dccp, sctp, tcp"),
        ({"protocol": "esp", "source_port": 80}, ("source_port",), "the protocol esp has no ports"),
        ({"protocol": "tcp", "destination_port": [80, "90-80"]}, ("destination_port", 1), "reversed"),
        ({"protocol": "tcp", "source_port": 70000}, ("source_port",), "ports are 1 to 65535"),
        ({"protocol": "tcp", "source_port": "mail"}, ("source_port",), "an alias of ports is needed"),
        ({"protocol": "tcp", "source_port": "http"}, ("source_port",), "there is no port alias 'http'"),
        ({"icmp_types": ["echo-request"]}, ("icmp_types",), 'need protocol = "icmp"'),
        ({"protocol": "icmp", "icmp_types": ["ping"]}, ("icmp_types", 0), "there is no ICMP type 'ping'; there are"),
        (
            {"protocol": "icmp", "family": "ipv4", "icmp_types": ["echo-reply", "nd-redirect"]},
            ("icmp_types", 1),
            "nd-redirect is a type of IPv6 only",
        ),
        ({"protocol": "icmpv6", "icmp_types": ["redirect"]}, ("icmp_types", 0), "redirect is a type of IPv4 only"),
        (
            {"protocol": "icmp", "source": "10.0.0.1", "icmp_types": ["nd-redirect"]},
            ("icmp_types",),
            "these types are of IPv6, but the addresses are not",
        ),
        ({"family": "ipv4", "source": "2001:db8::1"}, ("source",), "is of IPv6, but the rule is for IPv4"),
        ({"family": "ipv6", "destination": "mail"}, ("destination",), "is of IPv4, but the rule is for IPv6"),
        (
            {"source": "10.0.0.1", "destination": "six"},
            ("destination",),
            "the source is of IPv4 and the destination of IPv6: no packet has both",
        ),
        ({"gateway": "wan_gv"}, ("gateway",), "there is no gateway or group 'wan_gv'; did you mean 'wan_gw'?"),
        ({"gateway": "wan_gw", "action": "block"}, ("gateway",), "only a rule that passes"),
        ({"gateway": "wan_gw", "direction": "out"}, ("gateway",), 'use direction = "in"'),
        ({"gateway": "wan_gw", "interface": "any"}, ("gateway",), "names its interfaces"),
        ({"schedule": "offise"}, ("schedule",), "there is no schedule 'offise'; did you mean 'office'?"),
    ],
)
def test_what_is_wrong_is_refused_at_its_key(values: dict[str, Any], path: tuple[str | int, ...], said: str) -> None:
    found = problems(**values)
    assert [(each.path, each.severity) for each in found] == [(path, "error")]
    assert said in found[0].message


@pytest.mark.parametrize(
    ("values", "key", "said"),
    [
        ({"source": "nobody"}, "source", "matches nothing"),
        ({"source": "10.0.0.1", "destination": "nobody"}, "destination", "the rule has no effect"),
        ({"protocol": "tcp", "destination_port": "none"}, "destination_port", "matches nothing"),
        ({"interface": ["wan", "lan"], "gateway": "wan_gw"}, "gateway", "wan is a WAN"),
    ],
)
def test_what_may_be_meant_is_only_warned_about(values: dict[str, Any], key: str, said: str) -> None:
    found = problems(**values)
    assert [(each.path, each.severity) for each in found] == [((key,), "warning")]
    assert said in found[0].message


def test_a_gateway_needs_a_table_that_declares_it() -> None:
    (found,) = problems(gateway="wan_gw", has_gateways=False)
    assert "this needs a [gateways] table" in found.message


def test_a_wrong_alias_is_reported_where_it_is_declared_only() -> None:
    assert problems(source="wrong") == []
    assert problems(protocol="tcp", source_port="wrong_ports") == []


def test_the_other_half_of_a_conflict_is_named() -> None:
    (found,) = problems(source="10.0.0.1", destination="2001:db8::1")
    assert found.also == (("source",),)


def test_a_disabled_rule_has_to_be_right_too() -> None:
    assert [each.path for each in problems(disabled=True, source="mial")] == [("source",)]
