"""Keys on the bus: they cross to other processes, and nothing that is printed shows them."""

from __future__ import annotations

import pickle

from appliance.events import DerivedKey, GetKeys, KeysChanged
from appliance.events.config import Hidden

KEY = DerivedKey(id="0123456789abcdef", key=Hidden(b"S" * 32))


def test_a_key_is_not_shown() -> None:
    assert repr(KEY) == "DerivedKey(id='0123456789abcdef', key=<hidden>)"
    assert "SSSS" not in f"{(KEY,)} {KEY.key}"


def test_a_key_its_request_and_its_event_cross_to_another_process() -> None:
    for value in (KEY, GetKeys(purpose="pfsync"), KeysChanged(generation=3)):
        assert pickle.loads(pickle.dumps(value)) == value
    assert pickle.loads(pickle.dumps(KEY)).key.value == b"S" * 32


def test_who_comes_later_learns_that_there_are_keys() -> None:
    assert KeysChanged.retain_by == ()
