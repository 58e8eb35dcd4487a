"""A named table that is as before stays the same model, and nothing that only looks equal does."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import field_validator

from appliance.config import Model
from appliance.config.loader import load_whole
from appliance.config.unchanged import Before
from appliance.errors import ConfigError
from appliance.plugin import ConfigTable


class Item(Model):
    size: int = 0
    words: list[str] = []


class Table(Model):
    item: dict[str, Item] = {}
    one: Item | None = None
    plain: dict[str, int] = {}


TABLES = {"t": ConfigTable(name="t", model=Table, summary="x")}
TEXT = '[node]\nname = "x"\n[t.item.a]\nsize = 1\nwords = ["x"]\n[t.item.b]\nsize = 2\n[t.plain]\nk = 1\n'


def table(text: str, before: Before | None = None) -> tuple[Table, Before]:
    loaded = load_whole(text, path="a.toml", tables=TABLES, before=before)
    return loaded.config[Table], Before(loaded.config, loaded.data)


def test_only_what_differs_is_made_again() -> None:
    first, before = table(TEXT)
    second, after = table(TEXT.replace("size = 2", "size = 3"), before)
    assert second.item["a"] is first.item["a"]
    assert second.item["b"].size == 3
    assert second == table(TEXT.replace("size = 2", "size = 3"))[0]
    third, _ = table(TEXT.replace("[t.item.b]", "[t.item.c]"), after)
    assert list(third.item) == ["a", "c"]


@pytest.mark.parametrize("value", ["1.0", "true", '"1"'])
def test_what_is_only_equal_is_validated(value: str) -> None:
    _, before = table(TEXT)
    with pytest.raises(ConfigError) as with_it:
        table(TEXT.replace("size = 1", f"size = {value}"), before)
    with pytest.raises(ConfigError) as without:
        table(TEXT.replace("size = 1", f"size = {value}"))
    assert with_it.value.message == without.value.message


def test_a_table_that_is_new_or_was_of_another_kind_is_validated_whole() -> None:
    _, empty = table('[node]\nname = "x"\n[t]\n')
    new, _ = table(TEXT, empty)
    assert new == table(TEXT)[0]
    data: dict[str, Any] = {"item": {"a": {"size": 1}}, "strange": 1}
    assert empty.kept_in("t", data) == data
    assert empty.kept_in("absent", data) == data


class Ordered(Model):
    rule: list[Item] = []


class Sorted(Model):
    rule: list[Item] = []

    @field_validator("rule")
    @classmethod
    def by_size(cls, rules: list[Item]) -> list[Item]:
        return sorted(rules, key=lambda rule: rule.size)


@pytest.mark.parametrize("model", [Ordered, Sorted])
def test_items_that_were_not_read_again_stay_the_models_they_were(model: type[Ordered | Sorted]) -> None:
    tables = {"t": ConfigTable(name="t", model=model, summary="x")}
    first = load_whole('[node]\nname = "x"\n[[t.rule]]\nsize = 2\n[[t.rule]]\nsize = 1\n', path="a", tables=tables)
    two, one = first.data["t"]["rule"]
    data = {**first.data, "t": {"rule": [{"size": 3}, two, one, {"size": 1}]}}
    text = '[node]\nname = "x"\n' + "".join(f"[[t.rule]]\nsize = {size}\n" for size in (3, 2, 1, 1))
    second = load_whole(text, path="a", tables=tables, data=data, before=Before(first.config, first.data)).config[model]
    assert second == load_whole(text, path="a", tables=tables).config[model]
    kept = [rule for rule in second.rule if any(rule is old for old in first.config[model].rule)]
    assert [rule.size for rule in kept] == ([2, 1] if model is Ordered else [])
