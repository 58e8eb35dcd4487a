"""The table as people see it."""

from __future__ import annotations

from appliance_outbound_nat.listing import settings_of
from appliance_outbound_nat.ruleset import fragment
from tests.unit.plugins.outbound_nat.fakes import config

TABLE = """
mode = "hybrid"
[[rule]]
interface = "wan"
source = "net:lan"
source_port = "1024-65535"
protocol = "tcp"
translation = "none"
[[rule]]
interface = "wan"
translation = "203.0.113.0/30"
disabled = true
[[one_to_one]]
interface = "wan"
external = "vip:wan"
internal = "192.168.1.50"
[[port_forward]]
interface = "wan"
destination = "vip:wan"
port = "1000-1010"
target = "web"
target_port = 2000
reflection = true
[[port_forward]]
interface = "wan"
destination = "vip:wan"
port = 80
target = "web"
disabled = true
"""
SETTINGS = settings_of(config(TABLE))


def test_rules_stand_in_their_order_with_what_they_translate_to() -> None:
    assert [(each.kind, each.translation, each.resolved, each.disabled) for each in SETTINGS.rules] == [
        ("manual", "none", (), False),
        ("manual", "203.0.113.0/30", ("203.0.113.0-203.0.113.3",), True),
        ("automatic", "vip:wan", ("198.51.100.200",), False),
        ("automatic", "vip:wan", ("198.51.100.200",), False),
    ]
    assert (SETTINGS.mode, SETTINGS.node, SETTINGS.rules[0].source_port) == ("hybrid", "fw1", "1024-65535")


def test_forwards_and_pairs_are_resolved_too() -> None:
    forward, disabled = SETTINGS.forwards
    assert (forward.resolved, forward.target, forward.target_port) == ("198.51.100.200", "192.168.1.10", "2000")
    assert (forward.reflection, disabled.reflection, disabled.target_port) == (True, False, "80")
    (pair,) = SETTINGS.pairs
    assert (pair.external, pair.resolved, pair.internal) == ("vip:wan", "198.51.100.200", "192.168.1.50")


def test_an_address_that_only_the_kernel_knows_is_left_open() -> None:
    toml = '[[port_forward]]\ninterface = "wan"\ndestination = "address"\nport = 80\ntarget = "192.168.1.10"\n'
    made = settings_of(config(toml, interfaces={"wan": []}, vips={}))
    assert made.forwards[0].resolved == ""


def test_the_counters_shown_are_those_of_the_ruleset() -> None:
    shown = [each.counter for each in (*SETTINGS.rules, *SETTINGS.forwards, *SETTINGS.pairs) if each.counter]
    assert sorted(shown) == sorted(fragment(config(TABLE)).counters)
    assert [each.counter for each in SETTINGS.forwards][1] == ""
