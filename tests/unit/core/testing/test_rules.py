"""The reduction of values to what must be equal, and rules that are easier to see alone."""

from __future__ import annotations

import functools

import pytest

from appliance.events import Health
from appliance.plugin import Argument, Check, Command, Finding, Probe, Service, Where
from appliance.testing.rules import check_problems, command_problems, image_problems, shape, type_problems


async def look(_probe: Probe) -> Finding:
    return Finding(health=Health.OK, what="fine")


async def look_elsewhere(_probe: Probe) -> Finding:
    return Finding(health=Health.OK, what="fine")


def check(run: object) -> Check:
    return Check(name="x", help="Looks", run=run)  # type: ignore[arg-type]


def test_functions_made_anew_each_time_have_the_same_shape() -> None:
    assert shape([check(functools.partial(look))]) == shape([check(functools.partial(look))])
    assert shape([check(lambda probe: look(probe))]) == shape([check(lambda probe: look(probe))])


def test_different_functions_and_values_have_different_shapes() -> None:
    assert shape(check(look)) != shape(check(look_elsewhere))
    assert shape({"a": [1, 2]}) != shape({"a": [2, 1]})


@pytest.mark.parametrize("answer", [None, [], ()])
def test_nothing_is_an_answer(answer: object) -> None:
    assert type_problems("appliance_services", answer) == []


def test_a_generator_and_a_coroutine_are_no_answers() -> None:
    coroutine = look(None)  # type: ignore[arg-type]
    assert type_problems("appliance_services", coroutine) == ["returned something to await; hooks are synchronous"]
    coroutine.close()  # type: ignore[attr-defined]
    assert type_problems("appliance_services", iter([Service])) == ["returned list_iterator, not a list or tuple"]


def test_two_checks_need_two_names() -> None:
    assert check_problems([check(look), check(look)]) == ["check 'x' is there 2 times"]


@pytest.mark.parametrize(("name", "is_fine"), [("words...", True), ("--words...", False), ("...", False)])
def test_a_positional_may_take_all_that_is_left(name: str, is_fine: bool) -> None:
    def run(*, words: tuple[str, ...] = ()) -> int:
        return len(words)

    command = Command(
        path=("say",), help="Say.", run=run, arguments=(Argument(name=name, help="what"),), where=Where.LOCAL
    )
    assert (command_problems([command]) == []) is is_fine


def test_no_image_part_is_fine() -> None:
    assert image_problems(None, "appliance_sample") == []
