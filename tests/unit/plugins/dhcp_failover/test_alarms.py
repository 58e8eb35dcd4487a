"""What is wrong, said once, and taken back by itself."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import cast

import pytest

from appliance.events import Alarm, Event, Health
from appliance_dhcp_failover.alarms import Alarms, judge
from tests.unit.plugins.dhcp_failover.samples import lan, lease, pool_of
from tests.unit.plugins.dhcp_failover.scenes import FakePool, FakeReplicator, link


def wrong(pool: FakePool, replicator: FakeReplicator | None = None) -> dict[str, Alarm]:
    return judge({"lan": pool}, replicator or FakeReplicator({"fw2": link()}))  # type: ignore[arg-type,dict-item]


def test_a_healthy_pair_has_none() -> None:
    assert wrong(FakePool()) == {}


def test_a_kea_that_is_down_is_a_failure() -> None:
    pool = FakePool()
    pool.gate.ended("Kea has ended with status -9", 1.0)
    (alarm,) = wrong(pool).values()
    assert (alarm.key, alarm.health) == ("dhcp/lan/down", Health.FAIL)
    assert alarm.what == "clients on lan get no addresses from this node: Kea has ended with status -9"


def test_a_refused_configuration_is_a_failure() -> None:
    assert list(wrong(FakePool(refusal="bad option"))) == ["dhcp/lan/refused"]


def test_an_exhausted_pool_is_told() -> None:
    pool, now = FakePool(settings=pool_of(lan(range=["192.168.1.100-192.168.1.101"]))), time.time()
    pool.table.put(replace(lease(100), begun=now), now)
    pool.table.put(replace(lease(101), begun=now), now)
    (alarm,) = wrong(pool).values()
    assert alarm.what == "all 2 addresses of lan are in use: new clients get none"


@pytest.mark.parametrize(("skew", "health"), [(4.0, None), (-6.0, Health.WARN), (31.0, Health.FAIL)])
def test_clocks_are_warned_about_and_alarmed(skew: float, health: Health | None) -> None:
    found = wrong(FakePool(), FakeReplicator({"fw2": link(skew_s=skew)}))
    assert [alarm.health for alarm in found.values()] == ([] if health is None else [health])


def test_a_node_that_takes_no_leases_and_a_missing_pairing_are_told() -> None:
    lost = link()
    lost.failed("it has not taken a lease in 0.5 s", 1.0)
    found = wrong(FakePool(), FakeReplicator({"fw2": lost}, problem="not paired"))
    assert {key: alarm.what for key, alarm in found.items()} == {
        "dhcp/unpaired": "leases stay on this node: not paired",
        "dhcp/peer/fw2": "fw2 does not take leases: it has not taken a lease in 0.5 s",
    }


def test_changes_are_published_once_and_taken_back() -> None:
    told: list[Event] = []
    alarms = Alarms(told.append)
    first = Alarm(key="a", what="w", fix="f", health=Health.WARN)
    second = Alarm(key="b", what="w", fix="f", health=Health.FAIL)
    alarms.follow({"a": first, "b": second})
    alarms.follow({"a": first, "b": second})
    assert told == [first, second]
    assert alarms.worst == second
    alarms.follow({"a": first})
    assert (cast("Alarm", told[-1]).key, cast("Alarm", told[-1]).active) == ("b", False)
    assert alarms.worst == first
    alarms.follow({})
    assert alarms.worst is None
