"""Rules, aliases and entries as documents."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import pytest

from appliance.errors import UsageError
from appliance.events import Count
from appliance_firewall import report
from appliance_firewall.aliases import Resolved
from appliance_firewall.blocklog import BlockLog
from appliance_firewall.packets import Packet
from appliance_firewall.schedule import make
from tests.unit.plugins.firewall.fakes import SETTINGS

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HITS = {"fw_r_web": Count(packets=3, bytes=180), "fw_default_in": Count(packets=7, bytes=420)}


def rules(interface: str | None = None, limit: int = 100) -> dict[str, Any]:
    return report.rules(SETTINGS, HITS, interface=interface, limit=limit, now=NOON)


def test_a_rule_has_its_hits_and_its_place_in_the_file() -> None:
    assert rules()["rules"][2] == {
        "id": "web", "kind": "user", "action": "pass", "direction": "in", "interfaces": ["lan"],
        "text": "pass in on lan web", "description": "the web", "disabled": False, "schedule": None,
        "applies": True, "log": True, "packets": 3, "bytes": 180, "key": "firewall.rule[0]",
    }  # fmt: skip


def test_a_rule_applies_unless_it_is_disabled_or_off_by_its_schedule() -> None:
    settings = replace(SETTINGS, schedules=(make("night", (), ("22:00-06:00",)),))
    for now, night in ((NOON, False), (NOON.replace(hour=23), True)):
        shown = report.rules(settings, HITS, interface="lan", limit=100, now=now)["rules"]
        assert {rule["id"]: rule["applies"] for rule in shown if rule["kind"] == "user"} == {
            "web": True,
            "night": night,
            "off": False,
        }


def test_rules_come_in_the_order_in_which_they_are_asked() -> None:
    assert [rule["id"] for rule in rules()["rules"]] == ["lockout", "carp", "web", "night", "off", "default_in"]


def test_rules_of_one_interface_are_those_that_its_packets_meet() -> None:
    answer = rules("wan")
    assert [rule["id"] for rule in answer["rules"]] == ["carp", "default_in"]
    assert answer["matching"] == 2


def test_more_rules_than_asked_for_are_counted() -> None:
    answer = rules(limit=2)
    assert (answer["matching"], len(answer["rules"])) == (6, 2)


def test_a_rule_that_matched_nothing_has_no_hits_and_one_that_is_not_asked_has_unknown_ones() -> None:
    found = {rule["id"]: (rule["packets"], rule["bytes"]) for rule in rules()["rules"]}
    assert (found["night"], found["off"]) == ((0, 0), (None, None))


def test_without_counters_no_hits_are_known() -> None:
    answer = report.rules(SETTINGS, None, interface=None, limit=100, now=NOON)
    assert answer["counted"] is False
    assert {rule["packets"] for rule in answer["rules"]} == {None}


def test_an_unknown_interface_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="there is no interface 'wam'") as refused:
        rules("wam")
    assert refused.value.hint == "Configured are: lan, wan."
    with pytest.raises(UsageError) as refused:
        report.rules(replace(SETTINGS, devices=()), None, interface="lan", limit=1, now=NOON)
    assert refused.value.hint == "Configured are: none."


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("firewall", "rule", 3, "source"), "firewall.rule[3].source"),
        (("firewall",), "firewall"),
        (("firewall", "alias", "mail", "entries", 0), "firewall.alias.mail.entries[0]"),
        ((), ""),
    ],
)
def test_a_key_is_written_as_people_do(path: tuple[str | int, ...], text: str) -> None:
    assert report.key_text(path) == text


def test_aliases_are_listed_with_how_much_is_in_them() -> None:
    assert report.aliases(SETTINGS, None)["aliases"] == [
        {"name": "mail", "type": "networks", "description": "mail servers", "resolved": 4,
         "entries": ["192.168.2.10", "192.168.2.20-192.168.2.29", "10.0.0.0/8", "2001:db8::1"]},
        {"name": "web", "type": "ports", "description": "", "resolved": 2, "entries": ["80", "8000-8080"]},
        {"name": "loop", "type": "hosts", "description": "", "resolved": None, "entries": ["loop"]},
    ]  # fmt: skip


def test_a_single_alias_has_its_members() -> None:
    [mail] = report.aliases(SETTINGS, "mail")["aliases"]
    assert mail["members"] == ["10.0.0.0/8", "192.168.2.10", "192.168.2.20-192.168.2.29", "2001:db8::1"]
    [web] = report.aliases(SETTINGS, "web")["aliases"]
    assert web["members"] == ["80", "8000-8080"]
    [loop] = report.aliases(SETTINGS, "loop")["aliases"]
    assert loop["members"] == []


def test_an_unknown_alias_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="there is no alias 'wbe'") as refused:
        report.aliases(SETTINGS, "wbe")
    assert refused.value.hint == "Configured are: loop, mail, web."
    with pytest.raises(UsageError) as refused:
        report.aliases(replace(SETTINGS, aliases=()), "x")
    assert refused.value.hint == "Configured are: none."


def test_a_large_alias_is_listed_in_part() -> None:
    many = report.MEMBERS_MAX + 5
    large = replace(
        SETTINGS.aliases[0],
        entries=tuple(map(str, range(many))),
        resolved=Resolved("hosts", v4=tuple((2 * n, 2 * n) for n in range(many))),
    )
    [found] = report.aliases(replace(SETTINGS, aliases=(large,)), "mail")["aliases"]
    assert (found["resolved"], len(found["members"])) == (many, report.MEMBERS_MAX)
    assert len(found["entries"]) == report.ENTRIES_MAX


def test_an_entry_of_the_log_has_its_time() -> None:
    packet = Packet(version=4, protocol="udp", source=ip_address("192.0.2.1"), destination=ip_address("192.0.2.2"))
    entry = BlockLog().add(
        wall=1_700_000_000.1239, rule="default", action="block", direction="in", interface="wan", out_interface="",
        packet=packet,
    )  # fmt: skip
    found = report.entry(entry)
    assert (found["time"], found["seq"], found["src"]) == ("2023-11-14T22:13:20.123Z", 1, "192.0.2.1")
