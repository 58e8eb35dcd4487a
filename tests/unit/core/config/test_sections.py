"""What travels between nodes, what stays, and what becomes of a receiver's file."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from appliance.config import Model, Scope
from appliance.config.sections import digest, merged, present, put, shared, take
from appliance.errors import RefusedError


class Item(Model):
    name: str = ""
    value: int = 0
    device: Annotated[str, Scope.LOCAL] = ""
    nosync: bool = False


class Part(Model):
    address: Annotated[str, Scope.LOCAL] = ""
    text: str = ""


class Sample(Model):
    """``[sample]``."""

    own: Annotated[str, Scope.LOCAL] = ""
    password: str = ""
    item: list[Item] = []
    part: dict[str, Part] = {}


MODELS: dict[str, type[Model]] = {"sample": Sample}
PRIMARY: dict[str, Any] = {
    "sample": {
        "own": "primary's",
        "password": "secret",
        "item": [{"name": "a", "value": 1, "device": "eth0"}, {"name": "mine", "nosync": True}],
        "part": {"x": {"address": "10.0.0.1", "text": "t"}},
    }
}
SECONDARY: dict[str, Any] = {
    "sample": {
        "own": "secondary's",
        "password": "old",
        "item": [{"name": "old"}, {"name": "a", "value": 7, "device": "eth9"}, {"name": "kept", "nosync": True}],
        "part": {"x": {"address": "10.0.0.2", "text": "other"}, "gone": {"text": "g"}},
    }
}


def test_local_fields_and_items_marked_nosync_do_not_travel() -> None:
    assert shared(PRIMARY, MODELS) == {
        "sample": {"password": "secret", "item": [{"name": "a", "value": 1}], "part": {"x": {"text": "t"}}}
    }


def test_a_table_of_which_nothing_travels_is_not_there_for_others() -> None:
    own = {"sample": {"part": {"x": {"address": "10.0.0.2"}}}}
    assert shared(own, MODELS) == {"sample": {}}
    received = merged({"sample": {"password": "p"}}, own, MODELS)
    assert digest(shared(received, MODELS)) == digest({"sample": {"password": "p"}})
    assert shared({"sample": {"part": {}}}, MODELS) == {"sample": {"part": {}}}


def test_the_receiver_keeps_what_is_its_own_and_loses_what_the_sender_has_not() -> None:
    assert merged(shared(PRIMARY, MODELS), SECONDARY, MODELS) == {
        "sample": {
            "own": "secondary's",
            "password": "secret",
            "item": [{"name": "a", "value": 1, "device": "eth9"}, {"name": "kept", "nosync": True}],
            "part": {"x": {"address": "10.0.0.2", "text": "t"}},
        }
    }


def test_after_it_arrived_both_nodes_have_the_same_digest() -> None:
    sent = shared(PRIMARY, MODELS)
    assert digest(shared(merged(sent, SECONDARY, MODELS), MODELS)) == digest(sent)
    assert digest(shared(SECONDARY, MODELS)) != digest(sent)


@pytest.mark.parametrize("part", [{"item": [{"name": "kept"}]}, {"part": {"kept": {"text": "t"}}}])
def test_two_things_of_one_name_of_which_one_stays_are_refused(part: dict[str, Any]) -> None:
    own = {"sample": {"item": [{"name": "kept", "nosync": True}], "part": {"kept": {"nosync": True}}}}
    with pytest.raises(RefusedError, match="'kept' is marked nosync here"):
        merged({"sample": part}, own, MODELS)


def test_a_table_that_the_sender_removed_goes_but_for_what_is_local() -> None:
    assert merged({"sample": {}}, {"sample": {"password": "x"}}, MODELS) == {"sample": {}}
    assert merged({"sample": {}}, {"sample": {"own": "x", "password": "x"}}, MODELS) == {"sample": {"own": "x"}}


def test_parts_of_a_table_are_taken_and_put_back_without_touching_the_rest() -> None:
    whole = {"firewall": {"rule": [1], "alias": {"a": 2}}, "node": {"name": "fw1"}}
    keys = (("firewall", "rule"), ("carp",))
    assert take(whole, keys) == {"firewall": {"rule": [1]}}
    assert put(whole, keys, {"carp": {"x": 1}}) == {
        "firewall": {"alias": {"a": 2}},
        "node": {"name": "fw1"},
        "carp": {"x": 1},
    }
    assert put({}, (("firewall", "rule"),), {}) == {}


def test_a_table_of_which_nothing_travels_is_present_with_nothing_in_it() -> None:
    keys = (("sample", "item"), ("other", "x"))
    assert present({"sample": {}}, keys, MODELS) == {"sample": {}}
    assert present({"sample": {"own": "x", "item": [{"name": "a", "nosync": True}]}}, keys, MODELS) == {"sample": {}}
    assert present({"sample": {"item": []}}, keys, MODELS) == {}
    assert present({"sample": {"password": "x"}}, keys, MODELS) == {}
    assert present({"node": {}}, keys, MODELS) == {}


NAMES = st.sampled_from(["a", "b", "c", "d"])
ITEMS = st.lists(
    st.fixed_dictionaries(
        {"name": NAMES}, optional={"value": st.integers(0, 3), "device": NAMES, "nosync": st.booleans()}
    ),
    max_size=4,
    unique_by=lambda item: str(item["name"]),
)
TABLES = st.fixed_dictionaries(
    {},
    optional={"own": NAMES, "password": NAMES, "item": ITEMS, "part": st.dictionaries(NAMES, st.just({"text": "t"}))},
)


@given(sender=TABLES, receiver=TABLES)
def test_receiving_makes_equal_and_receiving_again_changes_nothing(
    sender: dict[str, Any], receiver: dict[str, Any]
) -> None:
    sent = shared({"sample": sender}, MODELS)
    names = {item["name"] for item in sent["sample"].get("item", [])}
    assume(not any(item.get("nosync") and item["name"] in names for item in receiver.get("item", [])))
    once = merged(sent, {"sample": receiver}, MODELS)
    assert merged(sent, once, MODELS) == once
    assert once.get("sample", {}).get("own") == receiver.get("own")
    stay = [item for item in receiver.get("item", []) if item.get("nosync")]
    kept = once["sample"].get("item", [])
    assert [item for item in kept if item.get("nosync")] == stay
