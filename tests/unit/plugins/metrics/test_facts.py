"""What holds on a node as numbers."""

from __future__ import annotations

from appliance.events import (
    Alarm,
    ConfigApplied,
    Count,
    Demotion,
    Event,
    Health,
    LinkChanged,
    LoopStalled,
    PeerChanged,
    Retracted,
    Role,
    RoleChanged,
    Status,
)
from appliance_metrics.facts import FACTS_MAX, Facts, counts, name_of


def numbers(*events: Event) -> dict[tuple[str, ...], float]:
    facts = Facts()
    for event in events:
        facts.take(event)
    return {(each.name.removeprefix("appliance_"), *each.labels): each.value for each in facts.samples()}


def role(role: Role) -> RoleChanged:
    return RoleChanged(interface="lan", vhid=1, role=role, reason="")


ALARM = Alarm(key="ruleset", health=Health.FAIL, what="x", fix="y")


def test_a_node_without_facts_has_no_alarms_and_no_stalls() -> None:
    assert numbers() == {
        ("alarms", "warn"): 0,
        ("alarms", "fail"): 0,
        ("loop_stalls_total",): 0,
        ("loop_stalled_seconds_total",): 0,
    }


def test_one_role_is_one_and_its_changes_are_counted() -> None:
    found = numbers(role(Role.INIT), role(Role.BACKUP), role(Role.BACKUP), role(Role.MASTER))
    assert {each.value: found["ha_role", "lan", "1", each.value] for each in Role if each is not Role.REMOVED} == {
        "INIT": 0,
        "BACKUP": 0,
        "MASTER": 1,
        "DISABLED": 0,
    }
    assert found["ha_role_changes_total", "lan", "1"] == 2


def test_a_virtual_host_that_was_removed_is_not_counted() -> None:
    assert numbers(role(Role.BACKUP), role(Role.MASTER), role(Role.REMOVED)) == numbers()


def test_reasons_of_demotion_come_and_go() -> None:
    heavy, light = Demotion(reason="bulk", weight=240), Demotion(reason="link:wan", weight=100)
    assert numbers(heavy, light)["ha_demotion", "bulk"] == 240
    assert ("ha_demotion", "bulk") not in numbers(heavy, light, Demotion(reason="bulk", weight=0))


def test_peers_links_and_the_configuration() -> None:
    found = numbers(
        PeerChanged(peer="fw2", alive=False, healthy=True, demotion=7, summary=""),
        LinkChanged(interface="wan", device="eth0", present=True, up=True, mac="", mtu=1500),
        ConfigApplied(revision=3, tables=()),
        ConfigApplied(revision=4, tables=()),
        LoopStalled(task="x", stall_s=0.5, stalls=4, total_s=1.5),
        Status(summary="not counted here"),
    )
    assert (found["ha_peer_alive", "fw2"], found["ha_peer_healthy", "fw2"], found["ha_peer_demotion", "fw2"]) == (
        0,
        0,
        7,
    )
    assert found["interface_up", "wan", "eth0"] == 1
    assert found["config_revision",] == 4
    assert (found["loop_stalls_total",], found["loop_stalled_seconds_total",]) == (4, 1.5)


def test_alarms_are_there_as_long_as_they_are_raised() -> None:
    found = numbers(ALARM)
    assert (found["alarm", "ruleset", "fail"], found["alarms", "fail"]) == (1, 1)
    cleared = Alarm(key="ruleset", active=False, what="x", fix="y")
    assert numbers(ALARM, cleared) == numbers()
    assert numbers(ALARM, Retracted(event_type=name_of(Alarm), key=("ruleset",), source="host")) == numbers()


def test_what_is_retracted_and_told_anew_is_there() -> None:
    gone = Retracted(event_type=name_of(RoleChanged), key=("lan", 1), source="carp/heartbeat")
    assert ("ha_role", "lan", "1", "MASTER") not in numbers(role(Role.MASTER), gone)
    assert numbers(role(Role.MASTER), gone, role(Role.BACKUP))["ha_role", "lan", "1", "BACKUP"] == 1


def test_memory_is_bounded() -> None:
    many = (Alarm(key=f"key{number}", what="x", fix="y") for number in range(FACTS_MAX + 10))
    assert numbers(*many)["alarms", "warn"] == FACTS_MAX


def test_named_counters_are_packets_and_bytes() -> None:
    found = {(each.name, each.labels, each.value) for each in counts({"hits": Count(packets=3, bytes=180)})}
    assert found == {
        ("appliance_ruleset_packets_total", ("hits",), 3.0),
        ("appliance_ruleset_bytes_total", ("hits",), 180.0),
    }
