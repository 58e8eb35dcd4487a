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


def port(number: int, last: int | None = None) -> Condition:
    return Condition(Field.DESTINATION_PORT, ((number, number if last is None else last),))


def networks(count: int, *more: Condition, first: int = 0) -> list[Step]:
    return [step(source(f"10.{n}.0.0", size=65536), *more, name=f"n{n}") for n in range(first, first + count)]


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


def test_networks_with_an_equal_port_or_range_are_looked_up_and_the_port_is_asked_once() -> None:
    for same, written in ((port(443), "443"), (port(20000, 59999), "20000-59999")):
        found = lookup(networks(RUN_MIN, same))
        assert (found.key, found.conditions, found.has_ranges) == ((Field.SOURCE_4,), (same,), True)
        assert lookup_text(found, "x", lambda *_: "").startswith(f"th dport {written} counter name ip saddr map ")


def test_ports_with_an_equal_network_are_looked_up_and_the_network_is_asked_once() -> None:
    network = source("10.0.0.0", size=65536)
    found = lookup(step(network, port(n), name=f"p{n}") for n in range(1, RUN_MIN + 1))
    assert (found.key, found.conditions, found.has_ranges) == ((Field.DESTINATION_PORT,), (network,), False)


def test_an_equal_range_does_not_keep_two_exact_values_from_being_looked_up_together() -> None:
    same = Condition(Field.SOURCE_PORT, ((1024, 65535),))
    found = lookup(step(source(f"10.0.0.{n}"), same, port(n + 1), name=f"h{n}") for n in range(RUN_MIN))
    assert (found.key, found.conditions) == ((Field.SOURCE_4, Field.DESTINATION_PORT), (same,))


def test_a_network_among_addresses_makes_all_of_them_ranges_wherever_it_stands() -> None:
    one = step(source("10.9.0.0", size=65536), name="net")
    for steps in ([one, *hosts(RUN_MIN)], [*hosts(RUN_MIN), one], [*hosts(4), one, *hosts(RUN_MIN)[4:]]):
        found = lookup(steps)
        assert found.has_ranges
        assert {each.flags for each in lookup_sets(found, "x")} == {"interval"}
        assert len(found.elements) == RUN_MIN + 1


def test_another_port_begins_another_run_of_networks() -> None:
    steps = [*networks(RUN_MIN, port(443)), *networks(RUN_MIN, port(80))]
    found = merge(steps)
    assert [each.conditions for each in found] == [(port(443),), (port(80),)]
    alternating = [each for n in range(RUN_MIN) for p in (443, 80) for each in networks(1, port(p), first=n)]
    assert merged(alternating) == [Step] * 2 * RUN_MIN, "the kernel looks up ranges of one field only"


def test_a_part_of_the_first_network_does_not_decide_which_field_is_looked_up() -> None:
    whole, part = source("10.0.0.0", size=65536), source("10.0.1.0", size=256)
    steps = [step(whole, port(1), name="first"), step(part, port(1), name="part")]
    steps += [step(whole, port(n), name=f"p{n}") for n in range(2, RUN_MIN + 1)]
    steps += [step(whole, port(5, 20), name="range"), step(whole, port(30, 40), name="other")]
    found = merge(steps)
    assert [type(each) for each in found] == [Lookup, Step, Step]
    for packet in (Packet(source="10.0.1.1", destination_port=p) for p in (1, 5, 20, 35)):
        assert decision(found, packet) == decision(steps, packet)


def test_of_equal_values_the_first_rule_decides() -> None:
    steps = [*hosts(RUN_MIN), step(source("10.0.0.2"), name="late")]
    found = decision(merge(steps), Packet(source="10.0.0.2"))
    assert found is not None
    assert found.counter == "fw_h1"


def test_a_larger_range_after_its_parts_begins_another_run() -> None:
    steps = [*hosts(RUN_MIN), step(source("10.0.0.0", size=256), name="rest")]
    assert merged(steps) == [Lookup, Step]


def test_a_range_that_only_overlaps_with_an_earlier_one_begins_another_run() -> None:
    def spaced(first: int, size: int, name: str) -> Step:
        return step(source(f"10.0.0.{first}", size=size), name=name)

    run = [spaced(16 * n, 8, f"n{n}") for n in range(RUN_MIN)]
    for late in (spaced(20, 16, "ends in one"), spaced(36, 8, "begins in one"), spaced(12, 32, "holds one")):
        steps = [*run, late]
        found = merge(steps)
        assert [type(each) for each in found] == [Lookup, Step]
        for packet in (Packet(source=f"10.0.0.{n}") for n in range(64)):
            assert decision(found, packet) == decision(steps, packet)


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
_NETWORK = st.tuples(st.integers(0, 15), st.sampled_from([1, 1, 4, 4, 4, 16]))
"""Sixteen networks of four addresses, mostly as a whole or their first address."""
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
        # Networks with one port or range of ports, as a whole list or with another one now and then.
        st.tuples(
            st.lists(_NETWORK, min_size=RUN_MIN, max_size=20),
            st.lists(st.tuples(_PORTS, _PORTS).map(sorted), min_size=1, max_size=2),
        ).map(
            lambda each: [
                step(source(f"10.0.0.{4 * a}", size=s), port(*each[1][n // 9 % len(each[1])]), name=f"{a}{s}{n}")
                for n, (a, s) in enumerate(each[0])
            ]
        ),
        # One network and many ports, or ranges of them.
        st.tuples(_ADDRESS, st.lists(st.tuples(st.integers(1, 24), st.integers(0, 1)), min_size=RUN_MIN)).map(
            lambda each: [
                step(source(each[0], size=4), port(p, p + more), name=f"{p}{more}{n}")
                for n, (p, more) in enumerate(each[1])
            ]
        ),
    ),
    max_size=6,
).map(lambda runs: [each for run in runs for each in run])
_PACKETS = st.builds(
    Packet,
    source=st.integers(0, 80).map(lambda n: f"10.0.0.{n}"),
    destination_port=st.integers(1, 24),
    protocol=st.sampled_from([6, 17]),
    destination=st.just("0.0.0.5"),
)


@given(_RUNS, st.lists(_PACKETS, max_size=40))
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


def test_fifty_thousand_networks_are_merged_within_seconds_whatever_their_order() -> None:
    steps = [step(source("10.0.0.0"), name="first")]
    steps += [
        Step(
            conditions=(TCP, Condition(Field.SOURCE_6, ((16 * n, 16 * n + 7),)), port(443)),
            verdict="accept",
            counter=f"fw_{n}",
        )
        for n in range(50_000, 0, -1)
    ]
    begin = time.process_time()
    assert merged(steps) == [Step, Lookup]
    assert time.process_time() - begin < 3
