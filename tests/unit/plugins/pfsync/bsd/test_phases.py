"""How far a flow is, in conntrack's words and in pf's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance_pfsync.bsd import phases
from appliance_pfsync.bsd.actions import TIMEOUT_S, Timeout
from appliance_pfsync.bsd.phases import ANSWERED, BE_LIBERAL, CLOSE_INIT, WINDOW_SCALE, Phase, Sides
from appliance_pfsync.flow import ICMP, ICMPV6, TCP, UDP, Status, TcpState

S = TcpState
GRE = 47


@pytest.mark.parametrize(
    ("src", "dst", "state", "timeout"),
    [
        (2, 0, S.SYN_SENT, 1),
        (4, 2, S.SYN_RECV, 1),
        (2, 2, S.SYN_RECV, 1),
        (4, 4, S.ESTABLISHED, 2),
        (7, 4, S.FIN_WAIT, 3),
        (4, 7, S.FIN_WAIT, 3),
        (9, 4, S.CLOSE_WAIT, 3),
        (4, 9, S.CLOSE_WAIT, 3),
        (7, 7, S.LAST_ACK, 4),
        (9, 7, S.LAST_ACK, 4),
        (7, 9, S.LAST_ACK, 4),
        (9, 9, S.TIME_WAIT, 5),
        (10, 10, S.CLOSE, 5),
    ],
)
def test_what_pf_says_of_tcp(src: int, dst: int, state: TcpState, timeout: int) -> None:
    phase = phases.to_phase(TCP, Sides(src, dst, timeout))
    assert phase is not None
    assert phase.tcp_state == state
    assert phases.tcp_timeout(src, dst) == timeout
    assert phase.flags_orig & phase.flags_reply & BE_LIBERAL
    assert phase.status == (ANSWERED if dst >= 2 else 0)


@pytest.mark.parametrize(
    ("state", "src", "dst"),
    [
        (S.NONE, 2, 0),
        (S.SYN_SENT, 2, 0),
        (S.SYN_SENT2, 2, 0),
        (S.SYN_RECV, 4, 2),
        (S.ESTABLISHED, 4, 4),
        (S.FIN_WAIT, 7, 4),
        (S.CLOSE_WAIT, 9, 4),
        (S.LAST_ACK, 9, 7),
        (S.TIME_WAIT, 9, 9),
        (S.CLOSE, 10, 10),
    ],
)
def test_what_conntrack_says_of_tcp(state: TcpState, src: int, dst: int) -> None:
    assert phases.to_sides(TCP, Phase(0, state))[:2] == (src, dst)
    mirrored = phases.to_sides(TCP, Phase(0, state, flags_reply=CLOSE_INIT))[:2]
    assert mirrored == ((dst, src) if src >= 7 else (src, dst)), "the responder closed first"


@given(st.sampled_from(list(S)[1:9]), st.sampled_from([0, CLOSE_INIT]), st.integers(0, 255))
def test_tcp_survives_the_way_to_pf_and_back(state: TcpState, first: int, wscale: int) -> None:
    is_closing = state in (S.FIN_WAIT, S.CLOSE_WAIT, S.LAST_ACK)
    flags = BE_LIBERAL | WINDOW_SCALE
    closes = (flags | first * is_closing, flags | (CLOSE_INIT - first) * is_closing)
    phase = Phase(ANSWERED if state != S.SYN_SENT else 0, state, *closes, wscale)
    assert phases.to_phase(TCP, phases.to_sides(TCP, phase)) == phase


def test_who_closed_first_is_told_by_the_sides() -> None:
    for sides, first in ((Sides(7, 4, 3), "orig"), (Sides(4, 9, 3), "reply"), (Sides(7, 9, 4), "reply")):
        phase = phases.to_phase(TCP, sides)
        assert phase is not None
        assert bool(phase.flags_orig & CLOSE_INIT) == (first == "orig")
        assert bool(phase.flags_reply & CLOSE_INIT) == (first == "reply")


def test_windows_are_scaled_only_if_both_sides_agreed() -> None:
    for src, dst, expected in ((0x87, 0x8A, 0x7A), (0x87, 0x0A, 0), (0, 0, 0)):
        phase = phases.to_phase(TCP, Sides(4, 4, 2, src, dst))
        assert phase is not None
        assert phase.wscale == expected
        assert bool(phase.flags_orig & phase.flags_reply & WINDOW_SCALE) == bool(expected)


def test_a_connection_that_pf_answers_itself_is_no_flow() -> None:
    assert phases.to_phase(TCP, Sides(11, 0, 0)) is None
    assert phases.to_phase(TCP, Sides(4, 12, 0)) is None


@pytest.mark.parametrize(("proto", "single", "multiple"), [(UDP, 7, 8), (GRE, 12, 13)])
def test_other_protocols_count_packets(proto: int, single: int, multiple: int) -> None:
    assert phases.to_sides(proto, Phase(0)) == Sides(1, 0, single)
    assert phases.to_sides(proto, Phase(Status.SEEN_REPLY)) == Sides(2, 1, multiple)
    assert phases.to_sides(proto, Phase(ANSWERED)) == Sides(2, 2, multiple)
    assert phases.to_phase(proto, Sides(2, 2, multiple)) == Phase(ANSWERED)
    assert phases.to_phase(proto, Sides(1, 1, multiple)) == Phase(Status.SEEN_REPLY)
    assert phases.to_phase(proto, Sides(2, 0, single)) == Phase(0)


@pytest.mark.parametrize("proto", [ICMP, ICMPV6])
def test_icmp_is_told_by_its_timeout(proto: int) -> None:
    for status, timeout in ((0, Timeout.ICMP_FIRST), (Status.SEEN_REPLY, Timeout.ICMP_ERROR_REPLY)):
        assert phases.to_sides(proto, Phase(status)) == Sides(0, 0, timeout)
        assert phases.to_phase(proto, Sides(0, 0, timeout)) == Phase(status)


def test_where_linux_waits_longer_than_pf_the_whole_timeout_is_told() -> None:
    assert phases.to_expire(Timeout.TCP_ESTABLISHED, 86400) == 86400
    assert phases.to_expire(Timeout.TCP_ESTABLISHED, 432000) == 0
    assert phases.to_expire(Timeout.UDP_MULTIPLE, 0) == 1, "0 would be the whole timeout"
    assert all(phases.to_expire(each, TIMEOUT_S[each]) == TIMEOUT_S[each] for each in Timeout)


def test_the_whole_timeout_is_that_of_linux_here() -> None:
    assert phases.default_s(TCP, Phase(ANSWERED, S.ESTABLISHED)) == 432000
    assert phases.default_s(TCP, Phase(ANSWERED, S.TIME_WAIT)) == 120
    assert phases.default_s(UDP, Phase(ANSWERED)) == 120
    assert phases.default_s(UDP, Phase(0)) == 30
    assert phases.default_s(ICMP, Phase(0)) == 30
    assert phases.default_s(GRE, Phase(0)) == 600


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 255), st.integers(0, 24))
def test_whatever_pf_says_has_a_meaning(src: int, dst: int, proto: int, timeout: int) -> None:
    phase = phases.to_phase(proto, Sides(src, dst, timeout))
    if phase is None:
        assert proto == TCP
        assert max(src, dst) >= 11
    else:
        assert phases.default_s(proto, phase) >= 10
