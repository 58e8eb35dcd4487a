"""Every kind of pydantic finding is told in our words, once per place."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Literal

import pytest
from pydantic import AfterValidator, Field, ValidationError

from appliance.config import Model
from appliance.config.types import DeviceName
from appliance.config.wording import SHOWN_MAX, explain, show, similar


class Color(Enum):
    RED = "red"


class Cat(Model):
    kind: Literal["cat"]
    lives: int = 9


class Dog(Model):
    kind: Literal["dog"]
    bark: bool = True


def _never(value: int) -> int:
    if value != 0:
        raise AssertionError("zero is needed")
    return value


class Table(Model):
    whole: int = 0
    number: Annotated[float, Field(gt=0, lt=10, allow_inf_nan=False)] = 1.0
    even: Annotated[int, Field(multiple_of=2)] = 0
    text: Annotated[str, Field(min_length=2, max_length=3)] = "ab"
    device: DeviceName = "eth0"
    odd: Annotated[str, Field(pattern="^x+$")] = "x"
    items: Annotated[list[int], Field(min_length=1, max_length=2)] = [1]
    names: set[str] = set()
    table: dict[str, int] = {}
    animal: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None
    color: Color = Color.RED
    zero: Annotated[int, AfterValidator(_never)] = 0
    size: Annotated[int, Field(ge=1)] | Literal["auto"] = 1
    maybe: int | None = None


def messages(data: Mapping[str, object], secrets: frozenset[tuple[str | int, ...]] = frozenset()) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Table.model_validate(data)
    problems = explain(caught.value.errors(include_url=False), table="t", model=Table, data=data, secrets=secrets)
    return [f"{'.'.join(map(str, problem.path))}: {problem.message}" for problem in problems]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"number": 0}, "t.number: must be greater than 0.0, not 0"),
        ({"number": 11}, "t.number: must be less than 10.0, not 11"),
        ({"number": float("nan")}, "t.number: must be a finite number, not NaN"),
        ({"even": 3}, "t.even: must be a multiple of 2, not 3"),
        ({"text": "a"}, 't.text: must have at least 2 characters, not "a"'),
        ({"text": "abcd"}, 't.text: must have at most 3 characters, not "abcd"'),
        ({"device": "a b"}, 't.device: must be a device name: 1 to 15 characters, no space, slash or colon, not "a b"'),
        ({"odd": "y"}, 't.odd: must be like ^x+$, not "y"'),
        ({"items": []}, "t.items: needs at least 1 items, but has 0"),
        ({"items": [1, 2, 3]}, "t.items: may have at most 2 items, but has 3"),
        ({"table": 1}, "t.table: needs a table, not 1"),
        ({"animal": {"kind": "cow"}}, 't.animal: "kind" must be one of "cat", "dog", not "cow"'),
        ({"animal": {}}, 't.animal: the key "kind" is required and missing'),
        ({"animal": {"kind": "cat", "lives": "x"}}, 't.animal.lives: needs a whole number, not "x"'),
        ({"animal": {"kind": "cat", "bark": 1}}, "t.animal.bark: unknown key; known here: kind, lives"),
        ({"zero": 1}, "t.zero: zero is needed"),
        ({"size": 0}, "t.size: must be at least 1, not 0"),
        ({"size": "atuo"}, 't.size: needs a whole number or "auto", not "atuo"; did you mean "auto"?'),
        ({"maybe": "x"}, 't.maybe: needs a whole number, not "x"'),
        ({"whole": {"a": 1}}, "t.whole: needs a whole number, not a table"),
    ],
)
def test_every_kind_of_finding_has_its_words(data: dict[str, object], expected: str) -> None:
    assert messages(data) == [expected]


def test_findings_we_have_no_words_for_keep_those_of_pydantic() -> None:
    (message,) = messages({"color": "blue"})
    assert message.startswith("t.color: input should be")


def test_a_secret_value_is_not_repeated() -> None:
    assert messages({"whole": "hunter2"}, frozenset({("t", "whole")})) == ["t.whole: needs a whole number"]
    assert messages({"text": "hunter2"}, frozenset({("t", "text")})) == ["t.text: must have at most 3 characters"]


def test_a_long_value_is_cut() -> None:
    assert len(show("x" * 1000)) == SHOWN_MAX + 1


def test_similar_names_are_found_and_others_are_not() -> None:
    assert similar("passwrd", ["password", "vhid"]) == "password"
    assert similar("zzz", ["password", "vhid"]) is None
