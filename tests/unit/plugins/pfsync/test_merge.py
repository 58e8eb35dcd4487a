"""The merge of two copies of a flow: one order for arrays and single records, and what an order promises."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance_pfsync.flow import FLOW4, FLOW6, Flows, Status, TcpState, key_hashes
from appliance_pfsync.merge import join, merged, newer, precedence

SMALL = st.integers(0, 2)


@st.composite
def copies(draw: st.DrawFn, rows: int = 1) -> Flows:
    """Copies of the same flows that differ in few values, so that ties are common."""
    dtype = draw(st.sampled_from([FLOW4, FLOW6])) if rows == 0 else FLOW4
    flows = np.zeros(max(rows, 1), dtype)
    for flow in flows:
        flow["status"] = draw(st.sampled_from([0, 2, 4, 6, 0xE, 0x1E]))
        flow["tcp_state"] = draw(st.sampled_from([0, 1, 3, 7, 9, 200]))
        flow["op"] = draw(st.sampled_from([1, 2]))
        for name in ("timeout", "mark", "wscale", "reply_dport", "tcp_flags_orig"):
            flow[name] = draw(SMALL)
        flow["labels"] = bytes(draw(st.sampled_from([bytes(16), b"\x01" + bytes(15), bytes(15) + b"\xff"])))
    return flows


def copy(dtype: np.dtype[np.void] = FLOW4, **values: object) -> Flows:
    flow = np.zeros(1, dtype)
    for name, value in values.items():
        flow[name] = value
    return flow


def wins(low: Flows, high: Flows) -> None:
    assert newer(low, high).tolist() == [True]
    assert newer(high, low).tolist() == [False]


@given(copies(), copies())
def test_the_join_is_commutative_and_idempotent(one: Flows, other: Flows) -> None:
    assert merged(one, other).tobytes() == merged(other, one).tobytes()
    assert merged(one, one).tobytes() == one.tobytes()


@given(copies(), copies(), copies())
def test_the_join_is_associative(one: Flows, two: Flows, three: Flows) -> None:
    assert merged(merged(one, two), three).tobytes() == merged(one, merged(two, three)).tobytes()


@given(copies(4), copies(4))
def test_arrays_and_single_records_are_decided_alike(own: Flows, other: Flows) -> None:
    expected = [precedence(theirs) > precedence(mine) for mine, theirs in zip(own, other, strict=True)]
    assert newer(own, other).tolist() == expected
    assert [join(a, b).tobytes() for a, b in zip(own, other, strict=True)] == [
        row.tobytes() for row in merged(own, other)
    ]


def test_the_important_fields_decide_first() -> None:
    wins(copy(status=0, timeout=900), copy(status=Status.ASSURED))
    wins(copy(status=0, tcp_state=TcpState.CLOSE), copy(status=Status.SEEN_REPLY))
    wins(copy(status=Status.SEEN_REPLY, timeout=9), copy(status=Status.ASSURED))
    wins(copy(tcp_state=TcpState.ESTABLISHED, timeout=432000), copy(tcp_state=TcpState.TIME_WAIT, timeout=120))
    wins(copy(timeout=1, mark=9), copy(timeout=2))
    wins(copy(mark=1, reply_dport=9), copy(mark=2))
    wins(copy(reply_dport=1, op=2), copy(reply_dport=2, op=1))


def test_a_simultaneous_open_is_not_later_than_an_established_connection() -> None:
    wins(copy(tcp_state=TcpState.SYN_SENT2), copy(tcp_state=TcpState.ESTABLISHED))
    wins(copy(tcp_state=TcpState.SYN_SENT), copy(tcp_state=TcpState.SYN_SENT2))


@pytest.mark.parametrize("dtype", [FLOW4, FLOW6])
def test_every_byte_decides_when_all_before_it_are_equal(dtype: np.dtype[np.void]) -> None:
    for at in range(dtype.itemsize):
        raw = bytearray(dtype.itemsize)
        raw[at] = 0x80
        low, high = np.zeros(1, dtype), np.frombuffer(bytes(raw), dtype)
        assert newer(low, high)[0] ^ newer(high, low)[0]


def test_no_flows_are_no_answer() -> None:
    assert newer(np.zeros(0, FLOW6), np.zeros(0, FLOW6)).tolist() == []


def into(table: dict[int, np.void], flows: Flows) -> None:
    for key, flow in zip(key_hashes(flows).tolist(), flows, strict=True):
        table[key] = join(table[key], flow) if key in table else flow


@st.composite
def partitions(draw: st.DrawFn) -> Flows:
    flows = draw(copies(5))
    flows["orig_sport"] = draw(st.permutations(range(5)))  # five different flows out of the same five
    flows["orig_sport"] %= 3  # and then only three, some with two copies in one partition
    flows["reply_dport"] = 7
    return flows


@settings(max_examples=50)
@given(partitions(), partitions(), partitions())
def test_three_partitions_in_any_order_give_the_same_table(one: Flows, two: Flows, three: Flows) -> None:
    tables = []
    for order in itertools.permutations([one, two, three]):
        table: dict[int, np.void] = {}
        for flows in order:
            into(table, flows)
        tables.append({key: flow.tobytes() for key, flow in table.items()})
    assert all(table == tables[0] for table in tables)
