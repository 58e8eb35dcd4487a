"""Failures are reported as what they are, with what led to them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from appliance.bus import Envelope
from appliance.events import LinkChanged
from appliance.testing.reporting import last_events, record, recording, single_failure


def test_the_only_leaf_of_nested_groups_is_raised() -> None:
    with pytest.raises(KeyError), single_failure():
        raise ExceptionGroup("outer", [ExceptionGroup("inner", [KeyError("x")])])


def test_several_failures_stay_together() -> None:
    with pytest.raises(ExceptionGroup), single_failure():
        raise ExceptionGroup("two", [KeyError("x"), ValueError("y")])


def test_nodes_are_recorded_only_while_somebody_reports() -> None:
    node = SimpleNamespace(name="fw1", envelopes=())
    with recording() as nodes:
        record(node)
    record(SimpleNamespace(name="late", envelopes=()))
    assert nodes == [node]


def test_events_of_all_nodes_are_interleaved_by_time() -> None:
    def node(name: str, *times: float) -> object:
        event = LinkChanged(interface=name, device="eth0", present=True, up=True)
        envelopes = [Envelope(number, at, 0.0, "test", None, event) for number, at in enumerate(times)]
        return SimpleNamespace(name=name, envelopes=tuple(envelopes))

    told = last_events([node("a", 1.0, 3.0), node("b", 2.0)])
    assert [line.split()[1] for line in told.splitlines()] == ["a", "b", "a"]
