"""The trace answers what happened and why, also about events nobody knows any more."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address
from types import ModuleType

import trio

from appliance.bus import EventBus, Trace, TraceFilter
from appliance.events import Event, Role, RoleChanged, event


@event()
class Ticked(Event):
    """Not retained."""

    n: int


@event()
class Odd(Event):
    """Holds what no event should hold."""

    value: object


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no repr for you")

    __str__ = __repr__


class Colour(Enum):
    RED = 1


@dataclass(frozen=True)
class Inner:
    address: IPv4Address
    colours: tuple[Colour, ...]


def quiet_bus() -> EventBus:
    return EventBus(clock=lambda: 1.0, wall=lambda: 2.0)


def test_the_ring_keeps_the_newest_and_finds_by_number() -> None:
    trace = Trace(capacity=4)
    bus = quiet_bus()
    for n in range(10):
        trace.append(bus.publish(Ticked(n=n), source="x"))
    assert [e.seq for e in trace] == [7, 8, 9, 10]
    found = trace.find(8)
    assert found is not None
    assert found.event == Ticked(n=7)
    assert [trace.find(seq) for seq in (0, 6, 11)] == [None, None, None]
    assert Trace().find(1) is None


def test_filters_know_names_bases_services_and_plugins() -> None:
    bus = quiet_bus()
    for source in ("carp/lan", "carp/wan", "carpenter/a"):
        bus.publish(Ticked(n=1), source=source)
        bus.publish(RoleChanged(interface="lan", vhid=1, role=Role.MASTER, reason=""), source=source)

    def seqs(**wanted: object) -> list[int]:
        return [e.seq for e in bus.trace.select(TraceFilter(**wanted))]  # type: ignore[arg-type]

    assert seqs() == [1, 2, 3, 4, 5, 6]
    assert seqs(source="carp") == [1, 2, 3, 4]
    assert seqs(source="carp/wan") == [3, 4]
    assert seqs(types=frozenset({"RoleChanged"})) == [2, 4, 6]
    assert seqs(types=frozenset({"appliance.events.ha:RoleChanged"}), source="carpenter") == [6]
    assert seqs(types=frozenset({"Event"})) == [1, 2, 3, 4, 5, 6]
    assert [e.seq for e in bus.trace.select(limit=2)] == [5, 6]
    assert [e.seq for e in bus.trace.select(after=4)] == [5, 6]
    assert [e.seq for e in bus.trace.select(TraceFilter(source="carp"), after=1, limit=2)] == [3, 4]


def test_why_follows_the_causes_to_the_root() -> None:
    async def main() -> None:
        bus = quiet_bus()
        with bus.subscribe(Ticked, name="a") as ticks:
            for n in range(3):
                bus.publish(Ticked(n=n), source="x")
                bus.publish(Ticked(n=100), source="noise")
                while (await ticks.receive()).n == 100:
                    pass
        chain = bus.trace.why(5)
        assert [e.seq for e in chain] == [1, 3, 5]
        assert chain[0].cause is None
        assert bus.trace.why(99) == ()

    trio.run(main)


def test_json_has_everything_an_operator_asks_for() -> None:
    envelope = quiet_bus().publish(
        RoleChanged(interface="lan", vhid=1, role=Role.MASTER, reason="master timed out"), source="carp/lan"
    )
    assert json.loads(json.dumps(envelope.to_json())) == {
        "seq": 1,
        "monotonic": 1.0,
        "wall": 2.0,
        "source": "carp/lan",
        "cause": None,
        "type": "RoleChanged",
        "module": "appliance.events.ha",
        "event": {"interface": "lan", "vhid": 1, "role": "MASTER", "reason": "master timed out"},
    }


def test_json_never_fails_whatever_an_event_holds() -> None:
    circular: list[object] = []
    circular.append(circular)
    values: list[object] = [
        Hostile(), circular, float("nan"), float("inf"), b"\x01\xff", {Colour.RED: Hostile(), (1, 2): {3}},
        Inner(address=IPv4Address("192.0.2.1"), colours=(Colour.RED,)), object, lambda: 0, "x" * 5000,
    ]  # fmt: skip
    bus = quiet_bus()
    rendered = [bus.publish(Odd(value=value), source="x").to_json()["event"]["value"] for value in values]
    json.dumps(rendered, allow_nan=False)
    assert "Hostile" in rendered[0]
    assert rendered[2:5] == ["nan", "inf", "01ff"]
    assert rendered[6] == {"address": "192.0.2.1", "colours": [1]}


def test_an_event_of_a_plugin_that_is_gone_is_still_printed() -> None:
    module = sys.modules["gone_plugin"] = ModuleType("gone_plugin")
    exec("from appliance.events import Event, event\n@event()\nclass Lost(Event):\n    n: int\n", vars(module))
    bus = quiet_bus()
    bus.publish(module.Lost(n=5), source="gone/a")
    del sys.modules["gone_plugin"], module
    (envelope,) = bus.trace
    assert envelope.to_json()["event"] == {"n": 5}
    assert envelope.to_json()["type"] == "Lost"
    assert bus.trace.select(TraceFilter(types=frozenset({"gone_plugin:Lost"}))) == (envelope,)
