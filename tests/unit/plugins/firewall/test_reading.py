"""Rules are read once, and what they mean is kept as long as the other tables declare the same names."""

from __future__ import annotations

import gc
import time
import weakref
from typing import Any

import pytest

from appliance.config import Config
from appliance_firewall import reading as module
from appliance_firewall.compile import fragment
from appliance_firewall.listing import listing
from appliance_firewall.reading import Meaning, Memory, reading_of
from appliance_firewall.settings import settings_of
from appliance_firewall.verify import verify
from tests.unit.plugins.firewall.paper import Cluster, config_of, rule

MAIL: dict[str, Any] = {"mail": {"type": "hosts", "entries": ["192.168.2.10"]}}
RULES = (
    rule(source="net:lan", protocol="tcp", destination="mail", destination_port=25),
    rule(source=["10.0.0.1", "10.0.0.2"], log=True, description="two"),
    rule(interface=["lan", "dmz"], action="block", disabled=True),
    rule(source="mial"),
)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The rules that were read, as sentences."""
    found: list[str] = []
    real = module._read

    def noticed(*arguments: Any) -> Meaning:
        made = real(*arguments)
        found.append(made.text)
        return made

    monkeypatch.setattr(module, "_read", noticed)
    return found


def take(read: list[str]) -> list[str]:
    found = list(read)
    read.clear()
    return found


def test_a_configuration_is_read_once_for_all_who_ask(read: list[str]) -> None:
    memory, config = Memory(), config_of(*RULES, alias=MAIL)
    assert memory.reading(config) is memory.reading(config)
    assert len(read) == len(RULES)


def test_equal_rules_are_read_once_and_have_counters_of_their_own(read: list[str]) -> None:
    found = reading_of(config_of(rule(), rule(), rule(description="the same")))
    assert len(read) == 1
    assert len(set(found.counters)) == 3


def test_of_the_next_configuration_only_what_is_new_is_read(read: list[str]) -> None:
    memory = Memory()
    memory.reading(config_of(*RULES, alias=MAIL))
    take(read)
    memory.reading(config_of(rule(action="block"), *RULES[::-1], alias=MAIL))
    assert take(read) == ["block in on lan from any to any"]


def test_a_rule_that_was_gone_is_read_again(read: list[str]) -> None:
    memory = Memory()
    for rules in ((rule(),), (), (rule(),)):
        memory.reading(config_of(*rules))
    assert len(read) == 2, "no more is kept than one configuration has"


@pytest.mark.parametrize(
    "changed",
    [
        {"alias": MAIL | {"mial": {"type": "hosts"}}},
        {"alias": {"mail": {"type": "hosts", "entries": ["2001:db8::1"]}}},
        {"alias": {"mail": {"type": "hosts"}}},
        {"alias": MAIL, "cluster": Cluster(names=("lan", "wan"))},
        {"alias": MAIL, "has_gateways": False},
        {"alias": MAIL, "schedule": {"office": {}}},
    ],
)
def test_other_names_make_every_rule_be_read_again(read: list[str], changed: dict[str, Any]) -> None:
    memory = Memory()
    memory.reading(config_of(*RULES, alias=MAIL))
    take(read)
    after = config_of(*RULES, **changed)
    assert memory.reading(after).meanings == reading_of(after).meanings
    assert len(read) == 2 * len(RULES)


def test_more_entries_of_an_alias_change_no_rule(read: list[str]) -> None:
    memory = Memory()
    memory.reading(config_of(*RULES, alias=MAIL))
    take(read)
    more = config_of(*RULES, alias={"mail": {"type": "hosts", "entries": ["192.168.2.10", "192.168.2.12"]}})
    found = memory.reading(more)
    assert take(read) == []
    sets = {each.name: each.elements for each in fragment(more, found).sets}
    assert sets["alias_mail_v4"] == ("192.168.2.10", "192.168.2.12")


def edits() -> list[Config]:
    listed = {"mail": {"type": "hosts", "entries": [f"192.168.2.{n}" for n in range(9)]}}
    many = [rule(source=["mail", f"10.0.0.{n}"], protocol="udp", destination_port=n + 1) for n in range(20)]
    return [
        config_of(*RULES, *many, alias=MAIL),
        config_of(*many, *RULES, alias=MAIL),
        config_of(*many[:10], rule(action="reject"), *many[10:], *RULES, alias=listed),
        config_of(*many[:10], rule(action="reject", description="x", id="y"), *RULES, alias=listed, log_default=False),
        config_of(*RULES, alias=MAIL, cluster=Cluster(names=("lan", "dmz"))),
        config_of(alias=MAIL),
        config_of(*RULES, *many, alias=MAIL),
    ]


def test_with_a_memory_everything_is_as_without_one() -> None:
    memory = Memory()
    for config in edits():
        found = memory.reading(config)
        assert verify(config, found) == verify(config)
        assert fragment(config, found) == fragment(config)
        assert listing(config, found) == listing(config)
        assert settings_of(config, found) == settings_of(config)


def test_a_configuration_that_nobody_has_any_more_is_not_kept() -> None:
    memory, config = Memory(), config_of(rule())
    memory.reading(config)
    alive = weakref.ref(config)
    del config
    gc.collect()
    assert alive() is None


def test_a_commit_of_many_rules_costs_what_has_changed() -> None:
    memory = Memory()
    many = [rule(source=f"10.{n >> 8}.{n & 255}.1", protocol="tcp", destination_port=443) for n in range(5000)]
    first, second = config_of(*many), config_of(*many, rule(action="block"))
    begin = time.process_time()
    memory.reading(first)
    middle = time.process_time()
    memory.reading(second)
    assert time.process_time() - middle < (middle - begin) / 2
