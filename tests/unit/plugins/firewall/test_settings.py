"""From a configuration to what the service is told."""

from __future__ import annotations

from appliance.testing import LogicalInterfaces
from appliance_firewall.listing import NFLOG_GROUP
from appliance_firewall.settings import FirewallSettings, ShownRule, settings_of
from tests.unit.plugins.firewall.fakes import configured


def told(text: str = "") -> FirewallSettings:
    interfaces = LogicalInterfaces.of(lan="192.168.1.2/24", wan="203.0.113.2/24")
    return settings_of(configured(text, interfaces=interfaces))


def user_rules(text: str) -> list[ShownRule]:
    return [rule for rule in told(text).rules if rule.kind == "user"]


def test_the_node_the_group_and_the_devices_are_told() -> None:
    settings = told()
    assert (settings.node, settings.group) == ("fw1", NFLOG_GROUP)
    assert settings.devices == (("lan", "lan"), ("wan", "wan"))


def test_devices_of_virtual_hosts_belong_to_their_interface() -> None:
    interfaces = LogicalInterfaces.of(wan="203.0.113.2/24")
    assert settings_of(configured("", interfaces=interfaces, vips=True)).devices == (
        ("wan", "wan"),
        ("wan.v200", "wan"),
    )


def test_a_rule_of_the_operator_is_told_with_everything_about_it() -> None:
    [rule] = user_rules(
        '[[rule]]\ninterface = "lan"\naction = "block"\ndirection = "out"\nprotocol = "tcp"\ndestination_port = 25\n'
        'log = true\nschedule = "night"\ndescription = "no mail"\nid = "mail"\n[schedule.night]\n'
    )
    assert rule == ShownRule(
        id="mail", counter="fw_r_mail", kind="user", action="block", direction="out", interfaces=("lan",),
        text="block out on lan tcp from any to any port 25 during night log", description="no mail", schedule="night",
        log=True, path=("firewall", "rule", 0),
    )  # fmt: skip


def test_floating_rules_name_their_interfaces_or_none_for_all() -> None:
    many, every = user_rules(
        '[[rule]]\ninterface = ["wan", "lan"]\naction = "pass"\n[[rule]]\ninterface = "any"\naction = "pass"\n'
    )
    assert (many.interfaces, every.interfaces) == (("wan", "lan"), ())


def test_a_disabled_rule_is_told_as_such() -> None:
    assert [
        rule.disabled for rule in user_rules('[[rule]]\ninterface = "lan"\naction = "pass"\ndisabled = true\n')
    ] == [True]


def test_the_rules_that_are_always_there_are_told_too() -> None:
    rules = told().rules
    assert rules[0].kind == "lockout"
    assert [(rule.kind, rule.log, rule.interfaces) for rule in rules[-2:]] == [("default", True, ())] * 2
    assert not any(rule.log for rule in told("log_default = false\n").rules)


def test_aliases_are_told_as_written_and_as_they_are() -> None:
    right, ports, wrong = told(
        '[alias.mail]\ntype = "hosts"\nentries = ["192.168.1.10"]\ndescription = "servers"\n'
        '[alias.web]\ntype = "ports"\nentries = [80]\n'
        '[alias.loop]\ntype = "hosts"\nentries = ["loop"]\n'
    ).aliases
    assert (right.name, right.type, right.entries, right.description) == ("mail", "hosts", ("192.168.1.10",), "servers")
    assert right.resolved is not None
    assert len(right.resolved.v4) == 1
    assert (ports.entries, ports.resolved is not None) == (("80",), True)
    assert wrong.resolved is None


def test_the_same_configuration_is_told_equally() -> None:
    text = '[[rule]]\ninterface = "lan"\naction = "pass"\n[alias.mail]\ntype = "hosts"\nentries = ["192.168.1.10"]\n'
    assert told(text) == told(text)
    assert told(text) != told()
