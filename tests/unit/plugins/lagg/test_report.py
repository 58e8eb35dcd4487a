"""Troubles, their weight, and the shape that programs rely on."""

from __future__ import annotations

from dataclasses import replace

from appliance.events import Health
from appliance_lagg import report
from appliance_lagg.settings import Settings
from appliance_lagg.states import state_of
from tests.unit.plugins.lagg.configured import wanted
from tests.unit.plugins.lagg.kernel_facts import ETH0, ETH1, MAC0, MAC1, bonding, link, member
from tests.unit.plugins.lagg.shown import lacp

LAGG = wanted()


def kinds(*members: object, others: tuple[object, ...] = ()) -> list[str]:
    actual = bonding(*members, others=others)  # type: ignore[arg-type]
    return [trouble.kind for trouble in report.troubles(LAGG, state_of(LAGG, actual), actual)]


def test_a_lost_member_costs_redundancy_and_all_of_them_the_link() -> None:
    up, down = member(ETH0, "eth0"), member(ETH1, "eth1", has_link=False)
    assert kinds(up, member(ETH1, "eth1")) == []
    assert kinds(up, down) == ["degraded"]
    assert kinds(member(ETH0, "eth0", has_link=False), down) == ["down"]
    assert kinds(replace(up, has_link=False)) == ["down"]


def test_an_address_of_a_device_that_is_no_member_any_more_is_told() -> None:
    members = (member(ETH0, "eth0"), member(ETH1, "eth1"))
    assert kinds(*members, others=(link(7, "eth2", mac=MAC0),)) == ["address"]
    assert kinds(*members, others=(link(7, "eth2", mac=MAC1), link(8, "lagg0.7", kind="vlan"))) == []


def test_the_status_is_as_bad_as_the_worst_trouble() -> None:
    settings = Settings(laggs=(LAGG,))
    actual = bonding(member(ETH0, "eth0"), member(ETH1, "eth1", has_link=False))
    found = report.troubles(LAGG, state_of(LAGG, actual), actual)
    status = report.status(settings, found)
    assert (status.health, status.summary) == (Health.WARN, "lagg0 runs on eth0 alone: eth1 has no link")
    assert report.health([*found, replace(found[0], kind="refused")]) is Health.FAIL
    assert report.status(settings, []).summary == "complete: lagg0"


def test_the_document_has_what_programs_rely_on() -> None:
    (lagg,) = lacp()["laggs"]
    assert (lagg["protocol"], lagg["hash"], lagg["rate"], lagg["primary"]) == ("lacp", "l4", "slow", None)
    assert lagg["partner"] == {"mac": "02:00:00:00:00:99", "key": 5, "ports": 2}
    assert lagg["members"][1] == {
        "name": "eth1",
        "state": "active",
        "speed": 1000,
        "duplex": "full",
        "mac": "02:00:00:00:00:02",
        "flaps": 0,
        "neighbour": {"chassis": "02::bb", "port": "1", "name": ""},
        "lacp": {
            "aggregator": 1,
            "selected": True,
            "actor": ["activity", "synchronization", "collecting", "distributing"],
            "partner": [],
            "churn": {"actor": "none", "partner": "none", "count": 0},
        },
    }
