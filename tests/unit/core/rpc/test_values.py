"""What can travel, and what is large."""

from __future__ import annotations

import time

import pytest

from appliance.rpc import values


@pytest.mark.parametrize("text", ["", "plain", "\t\n", "ünïcödé \U0001f600", "\x85\u2028", "\U0001fffe"])
def test_ordinary_text_can_travel(text: str) -> None:
    assert values.unsendable(text) is None
    assert values.harmless(text) == text


@pytest.mark.parametrize(
    ("text", "name"), [("a\0", "U+0000"), ("\r", "U+000D"), ("\uffff", "U+FFFF"), ("\ud800", "U+D800")]
)
def test_a_character_that_cannot_travel_is_named_and_can_be_replaced(text: str, name: str) -> None:
    assert values.unsendable(text) == name
    assert values.harmless(text).endswith("?")


@pytest.mark.parametrize("name", ["appliance.ping", "a", "system.list_methods", "m" * 128])
def test_names_of_methods(name: str) -> None:
    assert values.is_method(name)


@pytest.mark.parametrize("name", ["", "a\n", "m" * 129, "a b"])
def test_no_names_of_methods(name: str) -> None:
    assert not values.is_method(name)


@pytest.mark.parametrize(
    ("value", "large"),
    [
        (1, False),
        ("x" * values.LARGE, False),
        ("x" * (values.LARGE + 1), True),
        ([b"x" * 100_000] * 3, True),
        ({"a": {"b": ("x" * 300_000,)}}, True),
        ([0] * 20_000, True),
        ({str(key): 0 for key in range(5000)}, True),
        ([[0] for _ in range(400)], False),
        ([[0] for _ in range(600)], True),
    ],
)
def test_what_is_worth_a_worker_thread(value: object, large: bool) -> None:
    assert values.is_large(value) is large


def test_deciding_that_is_cheap() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    begun = time.process_time()
    assert values.is_large(deep)
    assert time.process_time() - begun < 0.05
