"""Words that many rules have in common are read once, and no more of them are kept than is worth it."""

from __future__ import annotations

from typing import Any

import pytest

from appliance_firewall import sides as module
from appliance_firewall.config import RuleTable
from appliance_firewall.sides import Reader
from tests.unit.plugins.firewall.paper import rule, world


def made(**values: Any) -> RuleTable:
    return RuleTable.model_validate(rule(**values))


def test_equal_words_are_read_once() -> None:
    reader = Reader(world())
    one, two = (reader.sides(made(source=["10.0.0.1", "net:lan"], destination_port=443)) for _ in range(2))
    assert one.source is two.source
    assert one.destination_port is two.destination_port
    assert reader.sides(made(source="10.0.0.1")).source != one.source


def test_words_that_are_no_longer_kept_are_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_MAX", 1)
    reader = Reader(world())
    rules = [made(source=f"10.0.0.{n}", destination_port=n + 1) for n in range(3)]
    found = [reader.sides(each) for each in rules for _ in range(2)]
    assert [each.source_port.is_any for each in found] == [True] * 6
    assert [each.destination_port.ranges for each in found[::2]] == [((1, 1),), ((2, 2),), ((3, 3),)]
    assert found[2] == found[3]
    assert (len(reader._addresses), len(reader._ports)) == (1, 1)


def test_what_is_wrong_is_kept_by_its_key() -> None:
    reader = Reader(world())
    assert reader.sides(made()).wrong == {}
    wrong = reader.sides(made(source="mial", protocol="tcp", destination_port=0)).wrong
    assert {key: [each.message for each in mistakes] for key, mistakes in wrong.items()} == {
        "source": ["there is no alias 'mial', and no other"],
        "destination_port": ["0: ports are 1 to 65535"],
    }
