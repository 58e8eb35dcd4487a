"""Two configurations key by key: what is paired with what, and that no secret is shown."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.config import Model
from appliance.config.compare import changed_keys
from appliance.config.types import Secret


class Vip(Model):
    vhid: int
    password: Secret | None = None


class Carp(Model):
    vip: list[Vip] = []
    keys: list[Secret] = []


def told(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return [str(change) for change in changed_keys(old, new, {"carp": Carp})]


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ({}, {}, []),
        ({"b": 1}, {"b": 2}, ["~ a.b: 1 -> 2"]),
        ({"b": 1}, {"b": True}, ["~ a.b: 1 -> true"]),
        ({}, {"b": "x"}, ['+ a.b = "x"']),
        ({"b": 1.5}, {}, ["- a.b = 1.5"]),
        ({}, {"b": {}}, ["+ a.b = empty"]),
        ({"b": 1}, {"b": {"c": 1}}, ["~ a.b: 1 -> a table"]),
        ({"x y": 1}, {"x y": 2}, ['~ a."x y": 1 -> 2']),
    ],
)
def test_keys_of_tables(old: dict[str, Any], new: dict[str, Any], changes: list[str]) -> None:
    assert told({"a": old}, {"a": new}) == changes


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ([1, 2], [1, 3], ["- a[] = 2", "+ a[] = 3"]),
        ([1, 2], [2, 1], ["~ a: a list -> the same items in another order"]),
        ([1], [True], ["- a[] = 1", "+ a[] = true"]),
        ([1, 1], [1], ["- a[1] = 1"]),
        ([{"name": "x", "p": 1}], [{"name": "x", "p": 2}], ["~ a[x].p: 1 -> 2"]),
        ([{"name": "x"}], [{"name": "y", "p": [7]}, {"name": "x"}], ['+ a[y].name = "y"', "+ a[y].p[] = 7"]),
        ([{"id": "x"}, {"id": "y"}], [{"id": "y"}, {"id": "x"}], ["~ a: a list -> the same items in another order"]),
        ([{"p": 1}, {"p": 2}, {"p": 3}], [{"p": 1}, {"p": 9}, {"p": 2}, {"p": 3}], ["+ a[1].p = 9"]),
        ([{"p": 1}, {"p": 2}, {"p": 3}], [{"p": 1}, {"p": 3}], ["- a[1].p = 2"]),
        ([{"p": 1}, {"p": 2}], [{"p": 1}, {"p": 4}], ["~ a[1].p: 2 -> 4"]),
        ([], [{"p": [{"q": 1}]}], ["+ a[0].p[0].q = 1"]),
    ],
)
def test_items_of_lists(old: list[Any], new: list[Any], changes: list[str]) -> None:
    assert told({"a": old}, {"a": new}) == changes


def test_a_secret_that_differs_is_named_and_not_shown() -> None:
    old = {"carp": {"vip": [{"vhid": 1, "password": "alpha"}, {"vhid": 2, "password": "same"}], "keys": ["k1"]}}
    new = {"carp": {"vip": [{"vhid": 1, "password": "beta"}, {"vhid": 2, "password": "same"}], "keys": ["k2", "k3"]}}
    assert told(old, new) == [
        '~ carp.vip[0].password: "**********" -> "**********"',
        '~ carp.keys[0]: "**********" -> "**********"',
        '+ carp.keys[1] = "**********"',
    ]


def test_what_no_model_knows_and_sounds_secret_is_not_shown_either() -> None:
    assert told({"other": {"password": "alpha"}}, {}) == ['- other.password = "**********"']


def test_a_long_value_is_cut() -> None:
    (change,) = told({}, {"a": {"b": "x" * 10_000}})
    assert len(change) < 200
    assert change.endswith("…")
