"""When a node answers, and what it does about its Kea."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance_dhcp_failover.machine import (
    BACKOFF_S,
    DOWN_S,
    FAILURES_MAX,
    HEALTHY_S,
    PATIENCE,
    PROBE_S,
    Configure,
    Gate,
    Probe,
    Restart,
    Start,
    State,
    Wait,
)


def standby(now: float = 0.0) -> Gate:
    gate = Gate(now)
    gate.started(now)
    gate.probed("", now)
    return gate


def serving(now: float = 0.0) -> Gate:
    gate = standby(now)
    gate.set_master(True, now)
    gate.configured(True, now)
    gate.probed("", now)
    return gate


def test_a_new_node_starts_kea_as_a_standby_and_looks_at_it() -> None:
    gate = Gate(0.0)
    assert gate.action(0.0) == Start()
    gate.started(0.2)
    assert gate.action(0.2) == Probe()
    assert gate.state is State.STARTING
    gate.probed("", 0.2)
    assert (gate.state, gate.action(0.2)) == (State.STANDBY, Wait(0.2 + PROBE_S))


def test_a_master_configures_at_once_and_answers_when_kea_has_taken_it() -> None:
    gate = standby()
    gate.set_master(True, 0.5, "master died")
    assert gate.action(0.5) == Configure(True), "without waiting for the next look"
    assert not gate.may_answer
    gate.configured(True, 0.52)
    assert gate.may_answer
    assert gate.action(0.52) == Probe()
    gate.probed("", 0.53)
    assert (gate.state, gate.reason) == (State.SERVING, "this node is MASTER")


def test_who_is_no_longer_master_answers_nobody_from_that_moment_on() -> None:
    gate = serving()
    gate.set_master(False, 1.0, "better master")
    assert not gate.may_answer
    assert (gate.state, gate.reason) == (State.STARTING, "better master")
    assert gate.action(1.0) == Configure(False)
    gate.configured(False, 1.0)
    gate.probed("", 1.0)
    assert gate.state is State.STANDBY


def test_a_kea_that_ends_is_started_after_ever_longer_pauses() -> None:
    gate, now = Gate(0.0), 0.0
    for pause in (*BACKOFF_S, BACKOFF_S[-1]):
        gate.started(now)
        gate.ended("killed", now)
        assert gate.action(now) == Wait(now + pause)
        now += pause
        assert gate.action(now) == Start()
    gate.started(now)
    now += HEALTHY_S + 1
    gate.ended("killed", now)
    assert gate.action(now) == Wait(now + BACKOFF_S[0])


def test_a_node_whose_kea_stays_down_is_a_worse_candidate_until_it_is_well() -> None:
    gate = serving()
    gate.ended("killed", 10.0)
    assert (gate.state, gate.may_answer) == (State.DOWN, False)
    assert not gate.is_demoting(10.0 + DOWN_S - 0.1)
    assert gate.is_demoting(10.0 + DOWN_S)
    gate.started(20.0)
    assert gate.is_demoting(20.0), "it runs, but nobody has looked"
    assert gate.action(20.0) == Configure(True)
    gate.configured(True, 20.0)
    gate.probed("", 20.1)
    assert not gate.is_demoting(20.1)
    assert gate.state is State.SERVING


def test_an_address_that_comes_a_moment_later_is_no_trouble() -> None:
    gate = standby()
    gate.set_master(True, 1.0)
    for number in range(PATIENCE):
        gate.refused("the address is not there yet", 1.0 + number / 10)
    assert gate.state is State.STANDBY
    gate.refused("the address is not there yet", 3.0)
    assert (gate.state, gate.reason) == (State.DOWN, "the address is not there yet")


def test_a_kea_that_cannot_be_configured_is_started_anew() -> None:
    gate = standby()
    gate.set_master(True, 0.0)
    now = 0.0
    for _ in range(FAILURES_MAX):
        gate.refused("no", now)
        now += 1.0
    assert gate.action(now) == Restart()
    gate.ended("killed", now)
    gate.started(now + 1)
    assert gate.action(now + 1) == Configure(True)


def test_sockets_that_are_gone_are_opened_by_the_same_configuration() -> None:
    gate = serving()
    gate.probed("Kea does not listen on 192.168.1.1", 5.0)
    assert not gate.may_answer
    assert gate.action(6.0) == Configure(True)


def test_other_settings_are_applied_without_a_change_of_state() -> None:
    gate = serving()
    gate.renew(3.0)
    assert gate.action(3.0) == Configure(True)
    assert gate.state is State.SERVING
    assert not gate.may_answer, "until Kea has them"


def test_the_same_role_again_is_nothing() -> None:
    gate = serving()
    changes = gate.changes
    gate.set_master(True, 2.0)
    assert gate.changes == changes
    assert gate.action(0.5) == Wait(PROBE_S)


EVENTS = st.sampled_from(["master", "backup", "started", "ended", "configured", "refused", "well", "ill", "renew"])


@given(st.lists(st.tuples(EVENTS, st.floats(0, 5)), max_size=60))
def test_nothing_ever_leaves_a_node_that_is_not_master(steps: list[tuple[str, float]]) -> None:
    gate, now = Gate(0.0), 0.0
    for event, pause in steps:
        now += pause
        action = gate.action(now)
        match event, action:
            case "master" | "backup", _:
                gate.set_master(event == "master", now)
            case "started", Start():
                gate.started(now)
            case "ended", _:
                gate.ended("x", now)
            case "configured", Configure(on):
                gate.configured(on, now)
            case "refused", Configure():
                gate.refused("x", now)
            case "well" | "ill", Probe():
                gate.probed("" if event == "well" else "x", now)
            case "renew", _:
                gate.renew(now)
        assert not gate.may_answer or gate.is_master
        assert gate.state is not State.SERVING or gate.is_master
