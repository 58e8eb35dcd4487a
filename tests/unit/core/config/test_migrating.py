"""Files of older formats are read as the current one; what nobody here can read is refused in words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
import tomli

from appliance.config.migrating import NewerFormatError, current, migrated
from appliance.plugin import Migration

OLD = '[node]\nname = "fw1"\n\n[carp]  # as ever\nadvskew = 100\n\n[other]\nx = 1\n'


def skew_to_rank(table: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"rank": table["advskew"] // 100}


def rank_in_words(table: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"rank": {0: "first", 1: "second"}[table["rank"]]}


STEPS = {
    "carp": [
        Migration(from_version=1, to_version=2, migrate=skew_to_rank),
        Migration(from_version=2, to_version=3, migrate=rank_in_words),
    ]
}


def test_a_table_goes_through_every_step_and_says_its_format_then() -> None:
    found = migrated(OLD, path="a.toml", steps=STEPS)
    data = tomli.loads(found.text)
    assert data == {"node": {"name": "fw1", "formats": {"carp": 3}}, "carp": {"rank": "second"}, "other": {"x": 1}}
    assert found.changes == ("a.toml: [carp] is of format 1 and was read as format 3",)
    assert "[other]\nx = 1" in found.text


def test_it_begins_at_the_format_that_the_file_states() -> None:
    text = '[node]\nname = "fw1"\nformats = { carp = 2 }\n[carp]\nrank = 0\n'
    assert tomli.loads(migrated(text, path="a", steps=STEPS).text)["carp"] == {"rank": "first"}


def test_what_is_current_stays_to_the_letter() -> None:
    first = migrated(OLD, path="a", steps=STEPS).text
    assert migrated(first, path="a", steps=STEPS).text == first
    assert migrated(OLD, path="a", steps={}).text == OLD
    without = '[node]\nname = "fw1"\n'
    assert migrated(without, path="a", steps=STEPS).text == without
    assert current(STEPS) == {"carp": 3}


@pytest.mark.parametrize("steps", [STEPS, {}])
def test_a_newer_format_is_refused_with_both_numbers(steps: Any) -> None:
    text = '[node]\nname = "fw1"\nformats = { carp = 4 }\n[carp]\n'
    with pytest.raises(NewerFormatError, match=r"\[carp\] is of format 4, and this system knows") as caught:
        migrated(text, path="a.toml", steps=steps)
    assert "start that one" in caught.value.hint


def test_a_format_of_a_table_that_is_gone_does_no_harm() -> None:
    text = '[node]\nname = "fw1"\nformats = { carp = 4 }\n'
    assert migrated(text, path="a.toml", steps=STEPS).text == text


def test_a_migration_that_fails_leaves_its_table_and_helps_the_others() -> None:
    steps = {**STEPS, "other": [Migration(from_version=1, to_version=2, migrate=lambda table: table["absent"])]}
    found = migrated(OLD, path="a.toml", steps=steps)
    assert tomli.loads(found.text)["other"] == {"x": 1}
    assert tomli.loads(found.text)["carp"] == {"rank": "second"}
    (failure,) = found.failures
    assert re.search(r"\[other\] is of format 1, and its plugin cannot turn it into format 2", failure)


@pytest.mark.parametrize(
    "steps",
    [
        [Migration(from_version=2, to_version=3, migrate=dict)],  # nothing leads away from 1
        [Migration(from_version=1, to_version=1, migrate=dict), Migration(from_version=4, to_version=5, migrate=dict)],
        [Migration(from_version=1, to_version=2, migrate=lambda _: None)],  # type: ignore[arg-type, return-value]
    ],
)
def test_steps_that_lead_nowhere_are_a_failure(steps: list[Migration]) -> None:
    found = migrated(OLD, path="a.toml", steps={"carp": steps})
    assert found.text == OLD
    assert len(found.failures) == 1
