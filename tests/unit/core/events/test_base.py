"""What the decorators make of a class, and that every event of the vocabulary follows the rules."""

from __future__ import annotations

import dataclasses
import pickle
import typing

import pytest

import appliance.events
from appliance.events import Event, Request, event, known_events, known_requests, request
from appliance.events.base import SOURCE


@event(retain="key")
class Sampled(Event):
    """A sample."""

    key: str
    value: int = 0


@request
class AskSample(Request[int]):
    """Asks."""

    key: str


VOCABULARY = [kind for kind in known_events().values() if kind.__module__.startswith("appliance.events.")]


def test_an_event_is_a_frozen_value_known_by_name() -> None:
    assert Sampled(key="a") == Sampled(key="a", value=0)
    assert hash(Sampled(key="a")) == hash(Sampled(key="a"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        Sampled(key="a").value = 2  # type: ignore[misc]
    assert known_events()[f"{__name__}:Sampled"] is Sampled


def test_the_class_is_registered_once_although_slots_build_it_twice() -> None:
    assert [kind for kind in known_events().values() if kind.__name__ == "Sampled"] == [Sampled]
    assert not hasattr(Sampled(key="a"), "__dict__")


def test_fields_are_given_by_name() -> None:
    with pytest.raises(TypeError):
        Sampled("a")  # type: ignore[misc]


def test_retention_is_by_one_field_by_several_or_by_none() -> None:
    @event(retain=("a", "b"))
    class Two(Event):
        """Two fields."""

        a: int
        b: int

    @event()
    class Fleeting(Event):
        """Not kept."""

    assert (Sampled.retain_by, Two.retain_by, Fleeting.retain_by) == (("key",), ("a", "b"), None)


def test_a_request_is_a_frozen_value_known_by_name() -> None:
    assert AskSample(key="a") == AskSample(key="a")
    assert known_requests()[f"{__name__}:AskSample"] is AskSample


@pytest.mark.parametrize(("decorate", "what"), [(event(), "not an Event"), (request, "not a Request")])
def test_the_decorators_refuse_other_classes(decorate: typing.Callable[[type], type], what: str) -> None:
    with pytest.raises(TypeError, match=what):
        decorate(type("Wrong", (), {}))


@pytest.mark.parametrize("kind", VOCABULARY, ids=lambda kind: kind.__name__)
def test_events_of_the_vocabulary_are_exported_documented_and_made_of_values(kind: type[Event]) -> None:
    assert getattr(appliance.events, kind.__name__) is kind
    assert kind.__doc__ is not None
    assert not kind.__doc__.startswith(f"{kind.__name__}(")
    fields = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    assert set(kind.retain_by or ()) <= fields | {SOURCE}


@pytest.mark.parametrize("kind", VOCABULARY, ids=lambda kind: kind.__name__)
def test_events_of_the_vocabulary_cross_processes(kind: type[Event]) -> None:
    hints = typing.get_type_hints(kind)
    values = {field.name: _example(hints[field.name]) for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    sample = kind(**values)
    assert pickle.loads(pickle.dumps(sample)) == sample


def _example(hint: object) -> object:
    if isinstance(hint, type) and issubclass(hint, str):
        return next(iter(hint), "x") if hasattr(hint, "__members__") else "x"
    if hint in (int, float, bool):
        return 1
    return () if typing.get_origin(hint) is tuple else None
