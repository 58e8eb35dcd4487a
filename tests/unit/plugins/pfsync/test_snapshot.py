"""The table at one moment: found by hash, and compared with an earlier one."""

from __future__ import annotations

import numpy as np
import pytest

from appliance_pfsync.flow import TCP, UDP, Flows, Op, key_hashes
from appliance_pfsync.snapshot import LONG_S, ROUNDING_S, Snapshot
from tests.unit.plugins.pfsync.fakes import flows, flows6, ports


def aged(made: Flows, *timeouts: int) -> Flows:
    made["timeout"] = timeouts
    return made


def renewed(before: Flows, after: Flows, elapsed_s: float) -> list[int]:
    one, other = Snapshot([before], [], 100.0), Snapshot([after], [], 100.0 + elapsed_s)
    four, six = other.refreshed_since(one)
    assert len(six) == 0
    assert set(four["op"].tolist()) <= {Op.UPDATE}
    return sorted(ports(four))


def test_it_has_the_flows_of_all_parts_and_families() -> None:
    taken = Snapshot([flows(3, 1), flows(2)], [flows6(9)], 0.0)
    assert len(taken) == 4
    hashes = np.concatenate([key_hashes(flows(1, 2, 3)), key_hashes(flows6(9))])
    assert taken.hashes.tolist() == sorted(hashes.tolist())


def test_flows_are_picked_by_hash_as_the_record_that_is_asked_for() -> None:
    taken = Snapshot([flows(3, 1, 2)], [flows6(9, 8)], 0.0)
    wanted = np.concatenate([key_hashes(flows6(8)), key_hashes(flows(2, 3)), np.array([0, 2**64 - 1], np.uint64)])
    four, six = taken.pick(wanted, Op.DELETE)
    assert (sorted(ports(four)), ports(six)) == ([2, 3], [8])
    assert {*four["op"].tolist(), *six["op"].tolist()} == {Op.DELETE}
    again, _ = taken.pick(wanted, Op.INSERT)
    assert set(again["op"].tolist()) == {Op.INSERT}, "what is picked is a copy"
    assert set(four["op"].tolist()) == {Op.DELETE}


def test_an_empty_table_has_nothing_to_pick_and_nothing_to_renew() -> None:
    empty, full = Snapshot([], [], 0.0), Snapshot([flows(1)], [flows6(1)], 30.0)
    assert len(empty) == 0
    assert empty.hashes.tolist() == []
    assert [len(each) for each in empty.pick(full.hashes, Op.INSERT)] == [0, 0]
    assert [len(each) for each in full.refreshed_since(empty)] == [0, 0]
    assert [len(each) for each in empty.refreshed_since(full)] == [0, 0]


def test_a_timeout_that_runs_down_carries_no_traffic_and_one_that_does_not_is_renewed() -> None:
    before = aged(flows(1, 2, 3, proto=UDP), 120, 120, 60)
    after = aged(flows(3, 2, 1, proto=UDP), 60, 90, 119)
    assert renewed(before, after, 30.0) == [1, 3]


@pytest.mark.parametrize(("more_s", "expected"), [(0, []), (ROUNDING_S, []), (ROUNDING_S + 1, [1])])
def test_rounding_is_no_traffic(more_s: int, expected: list[int]) -> None:
    before = aged(flows(1, proto=UDP), 100)
    assert renewed(before, aged(flows(1, proto=UDP), 70 + more_s), 30.4) == expected


def test_timeouts_of_days_need_no_refreshing_but_short_ones_of_tcp_do() -> None:
    before = aged(flows(1, 2), 432_000, 300)
    assert renewed(before, aged(flows(1, 2), 432_000, 300), 30.0) == [2]
    assert renewed(aged(flows(1), LONG_S), aged(flows(1), LONG_S), 30.0) == [1]
    assert renewed(aged(flows(1, proto=UDP), 86_400), aged(flows(1, proto=UDP), 86_400), 30.0) == [1]


def test_flows_that_are_new_were_told_already() -> None:
    assert renewed(aged(flows(1, proto=TCP), 100), aged(flows(1, 2, proto=TCP), 70, 300), 30.0) == []


def test_ipv6_is_renewed_apart_from_ipv4() -> None:
    one = Snapshot([aged(flows(1), 60)], [aged(flows6(1), 60)], 0.0)
    other = Snapshot([aged(flows(1), 30)], [aged(flows6(1), 60)], 30.0)
    four, six = other.refreshed_since(one)
    assert (len(four), ports(six)) == (0, [1])
