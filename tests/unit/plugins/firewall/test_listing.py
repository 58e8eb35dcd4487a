"""All rules for people, in the order in which they are asked."""

from __future__ import annotations

from typing import Any

from appliance_firewall.compile import fragment
from appliance_firewall.listing import ShownRule, by_counter, find, listing
from tests.unit.plugins.firewall.paper import config_of, rule


def listed(*rules: dict[str, Any], **table: Any) -> tuple[ShownRule, ...]:
    return listing(config_of(*rules, **table))


def test_it_begins_with_anti_lockout_and_ends_with_the_defaults() -> None:
    found = listed(rule(id="x"), block_bogons=["wan"])
    assert [each.kind for each in found] == ["lockout", *["automatic"] * 8, "user", "default", "default"]
    assert [each.id for each in found][:5] == [
        "lockout", "auto_ipv6_errors", "auto_ipv6_nd", "auto_ipv6_mld", "invalid",
    ]  # fmt: skip
    assert [each.id for each in found][-4:] == ["bogons_wan", "x", "default_in", "default_forward"]


def test_what_leaves_is_asked_first_and_floating_rules_before_those_of_an_interface() -> None:
    found = listed(
        rule(id="a"),
        rule(id="b", interface="wan"),
        rule(id="c"),
        rule(id="d", interface="any"),
        rule(id="e", direction="out"),
        rule(id="f", direction="out", interface=["lan", "wan"]),
    )
    assert [each.id for each in found if each.kind == "user"] == ["f", "e", "d", "a", "c", "b"]


def test_a_rule_is_shown_with_its_line_and_what_was_written_about_it() -> None:
    (found,) = [each for each in listed(rule(), rule(disabled=True, description="old", id="x")) if each.id == "x"]
    assert (found.disabled, found.description, found.path) == (True, "old", ("firewall", "rule", 1))
    assert (found.counter, found.action, found.interfaces) == ("fw_r_x", "pass", ("lan",))


def test_a_rule_without_an_id_is_called_by_its_counter() -> None:
    (found,) = [each for each in listed(rule()) if each.kind == "user"]
    assert f"fw_{found.id}" == found.counter


def test_every_counter_of_the_ruleset_is_listed() -> None:
    rules = (rule(), rule(), rule(interface="any", action="block"))
    config = config_of(*rules, block_bogons=["wan"], block_private=["wan"])
    assert set(by_counter(listing(config))) == set(fragment(config).counters)


def test_a_logged_packet_leads_to_its_rule() -> None:
    table = by_counter(listed(rule(id="x", log=True)))
    found = find("fw_r_x:pass ", table)
    assert found is not None
    assert found.id == "x"
    assert find("fw_default_in:block", table) == table["fw_default_in"]
    assert find("fw_r_gone:block", table) is None
    assert find("", table) is None
