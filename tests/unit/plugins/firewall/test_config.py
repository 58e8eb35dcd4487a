"""The models of ``[firewall]``, through the loader that operators meet."""

from __future__ import annotations

import pytest

from appliance.config import ProvidesAliases, Scope, scope_of
from appliance.config.loader import load
from appliance.errors import ConfigError
from appliance.plugin import ConfigTable
from appliance_firewall.config import FirewallConfig, RuleTable, items

TABLE = ConfigTable(name="firewall", model=FirewallConfig, summary="")
NODE = '[node]\nname = "fw1"\n'


def table(text: str) -> FirewallConfig:
    return load(NODE + text, path="appliance.toml", tables={"firewall": TABLE})[FirewallConfig]


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        table(text)
    return caught.value.message


def rule(text: str) -> RuleTable:
    return table(f'[[firewall.rule]]\ninterface = "lan"\naction = "pass"\n{text}').rule[0]


def test_an_empty_table_is_a_firewall_that_passes_what_the_appliance_needs() -> None:
    empty = table("[firewall]")
    assert (empty.automatic, empty.log_default, empty.anti_lockout, empty.rule) == (True, True, None, [])


def test_the_example_of_the_documents_is_valid() -> None:
    made = table(
        """
        [firewall]
        block_bogons = ["wan"]
        [firewall.alias.mail]
        type = "hosts"
        entries = ["192.168.2.10", "192.168.2.20-192.168.2.29"]
        [firewall.alias.web]
        type = "ports"
        entries = [80, "8000-8100"]
        [firewall.schedule.office]
        days = ["mon", "tue"]
        times = ["08:00-17:00"]
        [[firewall.rule]]
        interface = ["lan", "dmz"]
        action = "pass"
        protocol = "tcp"
        source = ["net:lan", "vip:lan"]
        destination_port = [22, "web"]
        schedule = "office"
        """
    )
    assert set(made.aliases()) == {"mail", "web"}
    assert made.schedules()["office"].days == {0, 1}
    assert items(made.rule[0].destination_port) == ("22", "web")


def test_one_interface_is_not_floating_and_several_or_any_are() -> None:
    def of(value: object) -> bool:
        return RuleTable.model_validate({"interface": value, "action": "pass"}).is_floating

    assert [of("lan"), of(["lan"]), of(["lan", "dmz"]), of("any")] == [False, False, True, True]


def test_aliases_are_offered_to_other_tables_without_those_that_are_wrong() -> None:
    made = FirewallConfig.model_validate(
        {"alias": {"good": {"type": "hosts", "entries": ["10.0.0.1"]}, "bad": {"type": "hosts", "entries": ["x y"]}}}
    )
    assert isinstance(made, ProvidesAliases)
    assert set(made.aliases()) == {"good"}
    assert made.aliases() is made.aliases(), "fifty thousand addresses are read once"


def test_what_was_asked_of_a_table_does_not_make_it_another_one() -> None:
    values = {"alias": {"a": {"type": "hosts", "entries": ["10.0.0.1"]}}}
    asked, other = FirewallConfig.model_validate(values), FirewallConfig.model_validate(values)
    assert asked.aliases()
    assert asked == other


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[firewall.alias.Mail]\ntype = "hosts"', "a name is a lower-case letter"),
        ('[firewall.alias.mail]\ntype = "urls"', "hosts"),
        ("[firewall.alias.mail]\nentries = []", "required and missing"),
        ('[firewall.schedule.x]\ntimes = ["8-9"]', "write it as 08:00-17:00"),
        ('[firewall.schedule.x]\ndays = ["monday"]', "mon"),
        ('[[firewall.rule]]\ninterface = "lan"', "required and missing"),
        ('[[firewall.rule]]\naction = "pass"', "required and missing"),
        ('[[firewall.rule]]\ninterface = []\naction = "pass"', "interface"),
        ('[[firewall.rule]]\ninterface = "lan"\naction = "drop"', "block"),
        ('[[firewall.rule]]\ninterface = "lan"\naction = "pass"\nid = "No 1"', "a name is a lower-case letter"),
        ('[[firewall.rule]]\ninterface = "lan"\naction = "pass"\nsorce = "any"', "source"),
        ('[[firewall.rule]]\ninterface = "lan"\naction = "pass"\nsource = []', "source"),
    ],
)
def test_what_no_model_accepts_is_refused_at_its_line(text: str, said: str) -> None:
    message = refusal(text)
    assert "appliance.toml:" in message
    assert said in message


def test_ports_and_protocols_are_numbers_or_text() -> None:
    made = rule('protocol = 47\nsource_port = 1\ndestination_port = ["2-3", 4]')
    assert (made.protocol, items(made.source_port), items(made.destination_port)) == (47, ("1",), ("2-3", "4"))


def test_a_rule_that_does_not_travel_says_so_itself() -> None:
    assert scope_of(RuleTable, "nosync") is Scope.LOCAL
    assert scope_of(RuleTable, "source") is Scope.SHARED
