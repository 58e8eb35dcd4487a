"""Automatic rules as text: what is added, and that everything else in a file stays."""

from __future__ import annotations

import tomllib

import pytest

from appliance.errors import RefusedError
from appliance_outbound_nat.automatic import automatic_rules
from appliance_outbound_nat.config import RuleTable
from appliance_outbound_nat.convert import as_toml, converted
from tests.unit.plugins.outbound_nat.fakes import scene

RULES = automatic_rules(scene())
BLOCKS = """\
[[outbound_nat.rule]]
interface = "wan"
protocol = "udp"
source = "192.168.1.0/24"
source_port = 500
destination_port = 500
translation = "vip:wan"
static_port = true
description = "Auto created rule for ISAKMP - LAN to WAN"

[[outbound_nat.rule]]
interface = "wan"
source = "192.168.1.0/24"
translation = "vip:wan"
description = "Auto created rule - LAN to WAN"
"""


def test_rules_are_written_as_a_person_would() -> None:
    assert as_toml(RULES) == BLOCKS
    assert as_toml(()) == ""


def test_what_is_written_means_the_same_rules() -> None:
    data = tomllib.loads(as_toml(RULES))["outbound_nat"]["rule"]
    assert tuple(RuleTable.model_validate(each) for each in data) == RULES


def test_mode_and_rules_change_and_comments_stay() -> None:
    text = (
        '[node]\nname = "fw1"\n\n[outbound_nat]   # translation\n'
        "mode = 'automatic'   # for now\nreflection = true\n\n"
        "# Virtual addresses\n[carp]\npreempt = true\n"
    )
    assert converted(text, RULES) == (
        '[node]\nname = "fw1"\n\n[outbound_nat]   # translation\nmode = "manual"   # for now\nreflection = true\n\n'
        f"{BLOCKS}\n# Virtual addresses\n[carp]\npreempt = true\n"
    )


def test_a_table_without_a_mode_gets_one() -> None:
    assert converted("[outbound_nat]\n", RULES) == f'[outbound_nat]\nmode = "manual"\n\n{BLOCKS}'
    assert converted("[outbound_nat]", RULES) == f'[outbound_nat]\nmode = "manual"\n\n{BLOCKS}'


def test_rules_of_the_mode_hybrid_stay_in_front() -> None:
    own = '[[outbound_nat.rule]]\ninterface = "wan"\ntranslation = "none"\n'
    forward = '\n[[outbound_nat.port_forward]]\ninterface = "wan"\n'
    made = converted(f'[outbound_nat]\nmode = "hybrid"\n{own}{forward}', RULES)
    assert made == f'[outbound_nat]\nmode = "manual"\n{own}\n{BLOCKS}{forward}'
    assert [rule["translation"] for rule in tomllib.loads(made)["outbound_nat"]["rule"]] == [
        "none",
        "vip:wan",
        "vip:wan",
    ]


def test_a_file_whose_last_line_has_no_end() -> None:
    assert converted('[outbound_nat]\nmode = "automatic"', RULES) == f'[outbound_nat]\nmode = "manual"\n\n{BLOCKS}'


def test_line_ends_of_the_file_are_kept() -> None:
    made = converted('[outbound_nat]\r\nmode = "automatic"\r\n', RULES)
    assert made == f'[outbound_nat]\nmode = "manual"\n\n{BLOCKS}'.replace("\n", "\r\n")


def test_without_any_automatic_rule_only_the_mode_changes() -> None:
    assert converted('[outbound_nat]\nmode = "automatic"\n', ()) == '[outbound_nat]\nmode = "manual"\n'


@pytest.mark.parametrize(
    "text",
    [
        'outbound_nat = { mode = "automatic" }\n',
        "[outbound_nat]\nrule = []\n",
        'outbound_nat.mode = "automatic"\n',
        'x = """\n[outbound_nat]\n"""\n[outbound_nat.sub]\n',
        '[outbound_nat]\n"mode" = "automatic"\n',
    ],
)
def test_a_table_in_a_form_that_cannot_be_edited_is_refused_and_never_damaged(text: str) -> None:
    with pytest.raises(RefusedError) as refused:
        converted(text, RULES)
    assert "not written in a form that can be edited" in refused.value.message
    assert "without --write" in refused.value.hint
