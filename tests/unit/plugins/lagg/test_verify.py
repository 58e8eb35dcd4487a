"""One test per rule about aggregations: what is refused, with which message and where."""

from __future__ import annotations

from typing import Any

from appliance.errors import Problem
from appliance_lagg.verify import verify
from tests.unit.plugins.lagg.configured import BOTH, configured

LAN = {"lan": {"device": "lagg0"}}


def lagg(protocol: str = "failover", members: list[str] | None = None, **more: Any) -> dict[str, Any]:
    return {"members": BOTH if members is None else members, "protocol": protocol, **more}


def only(found: list[Problem]) -> tuple[str, str, str, tuple[str, ...]]:
    """``(path, message, severity, other paths)`` of the one thing that is wrong."""
    (problem,) = found
    return dotted(problem.path), problem.message, problem.severity, tuple(dotted(path) for path in problem.also)


def dotted(path: tuple[str | int, ...]) -> str:
    return ".".join(str(part) for part in path)


def test_good_configurations_have_no_problems() -> None:
    dmz = {"vlan": {"parent": "lagg1", "id": 20}}
    assert verify(configured({"lagg0": lagg(), "lagg1": lagg("lacp", ["eth2", "eth3"])}, **LAN, dmz=dmz), None) == []
    assert verify(configured({}), None) == []
    assert verify(configured({"lagg0": lagg("none", [])}, **LAN), None) == []


def test_a_member_used_elsewhere_is_told_with_both_places() -> None:
    path, message, severity, also = only(verify(configured({"lagg0": lagg()}, **LAN, wan={"device": "eth1"}), None))
    assert (path, severity, also) == ("lagg.lagg0.members.1", "error", ("interfaces.wan.device",))
    assert message.startswith("eth1 carries wan already; a member belongs to the aggregation alone")
    vlan = {"vlan": {"parent": "eth0", "id": 7}}
    path, message, _, also = only(verify(configured({"lagg0": lagg()}, **LAN, dmz=vlan), None))
    assert (path, also) == ("lagg.lagg0.members.0", ("interfaces.dmz.vlan",))
    assert message.startswith("eth0 carries the VLAN of dmz already")


def test_a_member_is_in_one_aggregation_once() -> None:
    other = {"vlan": {"parent": "lagg1", "id": 7}}
    both = {"lagg0": lagg(), "lagg1": lagg(members=["eth2", "eth1"])}
    path, message, _, also = only(verify(configured(both, **LAN, dmz=other), None))
    assert (path, also) == ("lagg.lagg1.members.1", ("lagg.lagg0.members.1",))
    assert message == "eth1 already is a member of lagg0; a device can be in one aggregation, once"
    path, _, _, also = only(verify(configured({"lagg0": lagg(members=["eth0", "eth0"])}, **LAN), None))
    assert (path, also) == ("lagg.lagg0.members.1", ("lagg.lagg0.members.0",))


def test_aggregations_have_no_aggregations_in_them() -> None:
    both = {"lagg0": lagg(), "lagg1": lagg(members=["lagg0", "eth2"])}
    path, message, _, _ = only(verify(configured(both, **LAN, dmz={"device": "lagg1"}), None))
    assert (path, message.split(";")[0]) == ("lagg.lagg1.members.0", "lagg0 is an aggregation itself")


def test_members_are_needed_and_one_is_no_redundancy() -> None:
    assert only(verify(configured({"lagg0": lagg(members=[])}, **LAN), None))[2] == "error"
    path, message, severity, _ = only(verify(configured({"lagg0": lagg(members=["eth0"])}, **LAN), None))
    assert (path, severity) == ("lagg.lagg0.members", "warning")
    assert "nothing stands in for it" in message


def test_the_primary_is_a_member() -> None:
    path, message, _, _ = only(verify(configured({"lagg0": lagg(primary="eth9")}, **LAN), None))
    assert (path, message) == ("lagg.lagg0.primary", "eth9 is not a member of lagg0; members are eth0, eth1")


def test_an_aggregation_that_nothing_uses_is_a_warning_and_a_taken_name_an_error() -> None:
    path, _, severity, _ = only(verify(configured({"lagg0": lagg()}, wan={"device": "wan0"}), None))
    assert (path, severity) == ("lagg.lagg0", "warning")
    vlan = {"vlan": {"parent": "wan0", "id": 7}, "device": "lagg0"}
    path, message, severity, also = only(verify(configured({"lagg0": lagg()}, dmz=vlan), None))
    assert (path, severity, also) == ("lagg.lagg0", "error", ("interfaces.dmz.device",))
    assert message == "lagg0 is the VLAN of dmz already; give the aggregation another name"


def test_the_mtu_is_said_once_and_is_enough_for_vlans() -> None:
    config = configured({"lagg0": lagg(mtu=9000)}, lan={"device": "lagg0", "mtu": 1500})
    path, _, _, also = only(verify(config, None))
    assert (path, also) == ("lagg.lagg0.mtu", ("interfaces.lan.mtu",))
    vlan = {"vlan": {"parent": "lagg0", "id": 7}, "mtu": 2000}
    path, message, _, also = only(verify(configured({"lagg0": lagg(mtu=1500)}, dmz=vlan), None))
    assert (path, also) == ("lagg.lagg0.mtu", ("interfaces.dmz.mtu",))
    assert message == "dmz is a VLAN on lagg0 and has 2000: more than lagg0 can carry"


def test_taking_frames_from_all_members_is_a_warning() -> None:
    path, _, severity, _ = only(verify(configured({"lagg0": lagg(failover_rx="all")}, **LAN), None))
    assert (path, severity) == ("lagg.lagg0.failover_rx", "warning")


def test_a_change_that_takes_the_device_down_is_announced() -> None:
    def change(before: dict[str, Any], now: dict[str, Any]) -> list[Problem]:
        return verify(configured({"lagg0": now}, **LAN), configured({"lagg0": before}, **LAN))

    path, message, severity, _ = only(change(lagg(), lagg("lacp")))
    assert (path, severity) == ("lagg.lagg0.protocol", "warning")
    assert message.startswith("takes lagg0 down for a moment")
    assert only(change(lagg("lacp"), lagg("lacp", rate="fast")))[0] == "lagg.lagg0.rate"
    for before, now in (
        (lagg(), lagg(members=["eth0", "eth1", "eth2"])),
        (lagg(), lagg("none")),
        (lagg("lacp"), lagg("lacp", rate="slow", hash="l2")),
        (lagg(), lagg(primary="eth1", up_delay=2.0, mtu=9000)),
    ):
        assert change(before, now) == []
