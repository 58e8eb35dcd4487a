"""Rules of one shape become one lookup that decides the same."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from appliance_firewall.matching import Condition, Field, Step
from appliance_firewall.merge import RUN_MIN, Lookup, lookup_sets, lookup_text, merge
from tests.unit.plugins.firewall.paper import Packet, decision

TCP = Condition(Field.PROTOCOL, ((6, 6),))


def source(text: str, *, size: int = 1) -> Condition:
    first = int(ip_address(text))
    return Condition(Field.SOURCE_4, ((first, first + size - 1),))


def port(number: int) -> Condition:
    return Condition(Field.DESTINATION_PORT, ((number, number),))


def step(*conditions: Condition, verdict: str = "accept", name: str = "a", log: str = "") -> Step:
    return Step(conditions=conditions, verdict=verdict, counter=f"fw_{name}", log=log, origin=("firewall", name))


def hosts(count: int, *more: Condition) -> list[Step]:
    return [step(source(f"10.0.0.{2 * n}"), *more, name=f"h{n}", verdict="drop") for n in range(count)]


def merged(steps: Iterable[Step]) -> list[type]:
    return [type(each) for each in merge(list(steps))]


def lookup(steps: Iterable[Step]) -> Lookup:
    (only,) = merge(list(steps))
    assert isinstance(only, Lookup)
    return only


def test_a_run_of_one_shape_is_one_lookup_and_a_short_one_stays() -> None:
    assert merged(hosts(RUN_MIN)) == [Lookup]
    assert merged(hosts(RUN_MIN - 1)) == [Step] * (RUN_MIN - 1)


def test_what_differs_is_the_key_and_what_is_the_same_is_asked_once() -> None:
    found = lookup(step(TCP, source(f"10.0.0.{n}"), port(443), name=f"h{n}") for n in range(RUN_MIN))
    assert found.key == (Field.SOURCE_4,)
    assert found.conditions == (TCP, port(443))
    assert lookup_text(found, "in_lan_0", lambda *_: "") == (
        "meta l4proto 6 th dport 443 "
        "counter name ip saddr map @fw_counters_in_lan_0 ip saddr vmap @fw_verdicts_in_lan_0"
    )


def test_address_and_port_are_looked_up_together() -> None:
    steps = [step(TCP, source(f"10.0.0.{n}"), port(1000 + n), name=f"h{n}", verdict="drop") for n in range(RUN_MIN)]
    counters, verdicts = lookup_sets(lookup(steps), "x")
    assert (counters.key, counters.value, counters.flags) == ("ipv4_addr . inet_service", "counter", "")
    assert counters.elements[1] == '10.0.0.1 . 1001 : "fw_h1"'
    assert (verdicts.value, verdicts.elements[1]) == ("verdict", "10.0.0.1 . 1001 : drop")
    assert verdicts.origin == ("firewall", "h0")


def test_networks_that_do_not_overlap_are_looked_up_as_ranges() -> None:
    nets = [step(source(f"10.{n}.0.0", size=65536), name=f"n{n}") for n in range(RUN_MIN)]
    _, verdicts = lookup_sets(lookup(nets), "x")
    assert (verdicts.flags, verdicts.elements[0]) == ("interval", "10.0.0.0/16 : accept")


def test_of_equal_values_the_first_rule_decides() -> None:
    steps = [*hosts(RUN_MIN), step(source("10.0.0.2"), name="late")]
    found = decision(merge(steps), Packet(source="10.0.0.2"))
    assert found is not None
    assert found.counter == "fw_h1"


def test_a_larger_range_after_its_parts_begins_another_run() -> None:
    steps = [*hosts(RUN_MIN), step(source("10.0.0.0", size=256), name="rest")]
    assert merged(steps) == [Lookup, Step]


def test_a_part_of_an_earlier_range_is_never_reached() -> None:
    steps = [step(source("10.0.0.0", size=256), name="all"), *hosts(2), *hosts(RUN_MIN, TCP)]
    assert [each for each in merge(steps) if isinstance(each, Step)][1:] == steps[1:3], "the run is too short"
    nets = [step(source(f"10.{n}.0.0", size=65536), name=f"n{n}") for n in range(RUN_MIN)]
    assert len(lookup([*nets, *hosts(3)]).elements) == RUN_MIN


def test_without_counters_there_is_only_the_map_of_verdicts() -> None:
    found = lookup(replace(each, counter="", verdict="return") for each in hosts(RUN_MIN))
    assert lookup_text(found, "p", lambda *_: "") == "ip saddr vmap @fw_verdicts_p"
    assert [each.value for each in lookup_sets(found, "p")] == ["verdict"]


def test_rules_that_log_or_choose_a_gateway_or_invert_or_have_a_schedule_stay_as_they_are() -> None:
    inverted = Condition(Field.DESTINATION_4, ((1, 1),), inverted=True)
    schedule = Condition(Field.FAMILY, sets=("fw_schedule_office",))
    for steps in (
        [replace(each, log="x") for each in hosts(RUN_MIN)],
        [replace(each, verdict="goto gateway_wan") for each in hosts(RUN_MIN)],
        hosts(RUN_MIN, inverted),
        hosts(RUN_MIN, schedule),
        [step(TCP, name=f"t{n}") for n in range(RUN_MIN)],
    ):
        assert merged(steps) == [Step] * RUN_MIN


def test_another_shape_in_between_ends_a_run() -> None:
    steps = [*hosts(RUN_MIN), step(TCP, source("10.0.0.1"), name="tcp"), *hosts(RUN_MIN)]
    assert merged(steps) == [Lookup, Step, Lookup]


_ADDRESS = st.sampled_from([f"10.0.0.{n}" for n in range(16)])
_PORTS = st.integers(1, 4)
_VERDICTS = st.sampled_from(["accept", "drop", "return", "goto fw_reject", "goto gateway_wan"])


@st.composite
def _steps(draw: st.DrawFn) -> Step:
    conditions = []
    if draw(st.booleans()):
        conditions.append(TCP)
        conditions.append(port(draw(_PORTS)))
    if draw(st.integers(0, 9)):
        size = draw(st.sampled_from([1, 1, 1, 2, 4]))
        conditions.append(source(draw(_ADDRESS), size=size))
    if not draw(st.integers(0, 9)):
        conditions.append(Condition(Field.DESTINATION_4, ((1, 9),), inverted=draw(st.booleans())))
    return step(*conditions, verdict=draw(_VERDICTS), name=str(draw(st.integers(0, 10**9))))


_RUNS = st.lists(
    st.one_of(
        _steps().map(lambda each: [each]),
        st.lists(st.tuples(_ADDRESS, _PORTS, _VERDICTS), min_size=RUN_MIN, max_size=20).map(
            lambda each: [
                step(TCP, source(a), port(p), verdict=v, name=f"{a}{p}{n}") for n, (a, p, v) in enumerate(each)
            ]
        ),
        st.lists(st.tuples(_ADDRESS, st.sampled_from([1, 1, 2])), min_size=RUN_MIN, max_size=20).map(
            lambda each: [step(source(a, size=s), name=f"{a}{s}{n}") for n, (a, s) in enumerate(each)]
        ),
    ),
    max_size=6,
).map(lambda runs: [each for run in runs for each in run])
_PACKETS = st.builds(
    Packet, source=_ADDRESS, destination_port=_PORTS, protocol=st.sampled_from([6, 17]), destination=st.just("0.0.0.5")
)


@given(_RUNS, st.lists(_PACKETS, max_size=20))
def test_merged_rules_decide_as_the_rules_one_by_one(steps: list[Step], packets: list[Packet]) -> None:
    lookups = merge(steps)
    for packet in packets:
        assert decision(lookups, packet) == decision(steps, packet)


def test_fifty_thousand_rules_are_merged_within_a_second() -> None:
    steps = [
        Step(
            conditions=(TCP, Condition(Field.SOURCE_4, ((2 * n, 2 * n),)), port(1 + n % 999)),
            verdict="accept",
            counter=f"fw_{n}",
        )
        for n in range(50_000)
    ]
    begin = time.process_time()
    assert merged(steps) == [Lookup]
    assert time.process_time() - begin < 2
