import json
from typing import Any

import pytest

from appliance.events import (
    Alarm,
    ConfigApplied,
    Demotion,
    Health,
    LinkChanged,
    PeerChanged,
    Role,
    RoleChanged,
    Status,
)
from appliance.status import active_alarms, ha_status, overall_role


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def node(make_node: Any) -> Any:
    return make_node(Clock())


def role(interface: str, vhid: int, state: Role, reason: str = "master timed out") -> RoleChanged:
    return RoleChanged(interface=interface, vhid=vhid, role=state, reason=reason)


def link(interface: str, *, up: bool = True, present: bool = True) -> LinkChanged:
    return LinkChanged(interface=interface, device=f"{interface}0", present=present, up=up)


def peer(*, alive: bool = True, healthy: bool = True) -> PeerChanged:
    return PeerChanged(peer="fw2", alive=alive, healthy=healthy, demotion=0, summary="heard on lan, wan")


def whats(status: dict[str, Any]) -> list[str]:
    return [problem["what"] for problem in status["problems"]]


def test_a_healthy_master_has_every_documented_field(node: Any) -> None:
    node.bus.publish(ConfigApplied(revision=7, tables=("carp",)), source="host")
    node.bus.publish(role("wan", 200, Role.MASTER), source="carp/carp")
    node.bus.publish(role("lan", 1, Role.MASTER), source="carp/carp")
    node.bus.publish(peer(), source="carp/carp")
    node.bus.publish(link("lan"), source="interfaces/links")
    status = ha_status(node, now=163.0)
    assert status == {
        "node": "fw1",
        "role": "MASTER",
        "summary": "fw1 is MASTER of all 2 virtual hosts",
        "failover": {"ready": True, "what": "fw2 would take over", "fix": None},
        "vips": [
            {
                "interface": name,
                "vhid": vhid,
                "state": "MASTER",
                "since": "2023-11-14T22:13:20.000Z",
                "age_s": 63.0,
                "reason": "master timed out",
            }
            for name, vhid in (("lan", 1), ("wan", 200))
        ],
        "demotion": 0,
        "reasons": [],
        "peers": [
            {
                "peer": "fw2",
                "alive": True,
                "healthy": True,
                "demotion": 0,
                "summary": "heard on lan, wan",
                "since": "2023-11-14T22:13:20.000Z",
                "age_s": 63.0,
            }
        ],
        "links": [
            {
                "interface": "lan",
                "device": "lan0",
                "present": True,
                "up": True,
                "since": "2023-11-14T22:13:20.000Z",
                "age_s": 63.0,
            }
        ],
        "notes": [],
        "problems": [],
        "config": {"revision": 7, "role": "primary"},
    }
    assert json.loads(json.dumps(status)) == status


def test_a_failover_needs_a_healthy_peer_or_a_backup_that_is_well(node: Any) -> None:
    def failover() -> tuple[bool, str]:
        found = ha_status(node, now=100.0)["failover"]
        assert (found["fix"] is None) is found["ready"]
        return found["ready"], found["what"]

    assert ha_status(node, now=100.0)["failover"] is None, "it has no virtual hosts"
    node.bus.publish(role("lan", 1, Role.MASTER), source="carp/carp")
    assert failover() == (False, "nobody would take over: no other node has been heard")
    node.bus.publish(peer(alive=False, healthy=False), source="carp/carp")
    assert failover() == (False, "nobody would take over: fw2 does not answer")
    node.bus.publish(peer(healthy=False), source="carp/carp")
    assert failover() == (False, "nobody would take over: fw2 is not healthy")
    node.bus.publish(peer(), source="carp/carp")
    assert failover() == (True, "fw2 would take over")
    node.bus.publish(role("lan", 1, Role.BACKUP), source="carp/carp")
    assert failover() == (True, "this node would take over")
    node.bus.publish(Demotion(reason="link:wan", weight=240), source="carp/carp")
    assert failover() == (False, "this node would take over badly: link:wan")
    node.bus.publish(role("lan", 1, Role.DISABLED), source="carp/carp")
    assert ha_status(node, now=100.0)["failover"] is None


def test_what_can_be_done_about_a_service_that_is_well_is_a_note_and_no_problem(node: Any) -> None:
    node.bus.publish(Status(summary="handed over", fix="Take it back."), source="carp/carp")
    node.bus.publish(Status(summary="all is well"), source="pfsync/pfsync")
    status = ha_status(node, now=100.0)
    assert status["problems"] == []
    assert status["notes"] == [{"source": "carp/carp", "what": "handed over", "fix": "Take it back."}]


def test_a_sick_service_says_itself_what_to_do_about_it(node: Any) -> None:
    node.bus.publish(Status(health=Health.WARN, summary="in maintenance", fix="End it."), source="carp/carp")
    status = ha_status(node, now=100.0)
    assert status["problems"] == [{"what": "carp/carp: in maintenance", "fix": "End it.", "health": "warn"}]
    assert status["notes"] == []


@pytest.mark.parametrize(
    ("states", "word"),
    [
        ([], "NONE"),
        (["BACKUP", "BACKUP"], "BACKUP"),
        (["INIT"], "INIT"),
        (["DISABLED", "DISABLED"], "DISABLED"),
        (["MASTER", "INIT"], "MIXED"),
    ],
)
def test_the_role_of_the_node_is_that_of_all_its_hosts_or_mixed(states: list[str], word: str) -> None:
    assert overall_role(states) == word


def test_mixed_roles_are_counted_and_are_a_problem(node: Any) -> None:
    node.bus.publish(role("lan", 1, Role.MASTER), source="carp/carp")
    node.bus.publish(role("lan", 2, Role.MASTER), source="carp/carp")
    node.bus.publish(role("wan", 200, Role.BACKUP), source="carp/carp")
    status = ha_status(node, now=100.0)
    assert status["summary"] == "fw1 has MIXED roles: BACKUP of 1, MASTER of 2"
    assert whats(status) == ["this node is MASTER of some virtual hosts only"]


def test_a_host_without_link_does_not_make_the_others_look_split(node: Any) -> None:
    node.bus.publish(role("lan", 1, Role.BACKUP), source="carp/carp")
    node.bus.publish(role("wan", 200, Role.INIT), source="carp/carp")
    summary = ha_status(node, now=100.0)["summary"]
    assert summary == "fw1 is BACKUP of 1 of 2 virtual hosts; 1 without link"


def test_demotion_is_the_sum_of_its_named_reasons_and_cleared_ones_are_gone(node: Any) -> None:
    node.bus.publish(Demotion(reason="link:wan", weight=240), source="carp/carp")
    node.bus.publish(Demotion(reason="bulk", weight=100), source="pfsync/bulk")
    node.bus.publish(Demotion(reason="bulk", weight=0), source="pfsync/bulk")
    node.bus.publish(Demotion(reason="maintenance", weight=240), source="carp/carp")
    status = ha_status(node, now=112.0)
    assert status["demotion"] == 480
    assert [(reason["name"], reason["weight"]) for reason in status["reasons"]] == [
        ("link:wan", 240),
        ("maintenance", 240),
    ]


def test_facts_of_a_dead_service_are_not_shown_but_its_death_is(node: Any) -> None:
    node.bus.publish(role("lan", 1, Role.MASTER), source="carp/carp")
    node.bus.forget("carp/carp")
    node.supervisor.running = [
        node.service(name="carp/carp", state="failed", error="OSError: no such device\n  File x")
    ]
    status = ha_status(node, now=100.0)
    assert status["role"] == "NONE"
    assert status["vips"] == []
    assert whats(status) == ["service carp/carp is down (failed): OSError: no such device"]


@pytest.mark.parametrize("state", ["running", "starting", "waiting", "draining", "stopped"])
def test_a_service_that_is_not_failing_is_no_problem(node: Any, state: str) -> None:
    node.supervisor.running = [node.service(name="carp/carp", state=state)]
    assert ha_status(node, now=100.0)["problems"] == []


def test_a_broken_plugin_names_its_distribution(node: Any) -> None:
    node.plugins.entries = [
        node.plugin(name="ids", distribution="acme-ids", state="broken", enabled=False, error="ImportError: libfoo"),
        node.plugin(name="vpn", state="blocked", enabled=False),
    ]
    assert whats(ha_status(node, now=100.0)) == ["plugin ids (acme-ids) is broken: ImportError: libfoo"]


def test_a_broken_plugin_that_has_an_alarm_is_named_once(node: Any) -> None:
    node.plugins.entries = [node.plugin(name="ids", state="refused", error="bad table")]
    alarm = Alarm(
        key="plugin/ids", health=Health.FAIL, what="its table is wrong:\nappliance.toml:3:1", fix="Correct it."
    )
    node.bus.publish(alarm, source="node")
    status = ha_status(node, now=100.0)
    assert whats(status) == ["its table is wrong:\nappliance.toml:3:1"]


def test_links_and_peers_that_are_down_are_problems_with_a_remedy(node: Any) -> None:
    node.bus.publish(link("wan", up=False), source="interfaces/links")
    node.bus.publish(link("dmz", up=False, present=False), source="interfaces/links")
    node.bus.publish(peer(alive=False, healthy=False), source="carp/carp")
    status = ha_status(node, now=100.0)
    assert whats(status) == [
        "wan (wan0) has no link",
        "device dmz0 of dmz does not exist",
        "peer fw2 does not answer: heard on lan, wan",
    ]
    assert all(problem["fix"] for problem in status["problems"])


def test_a_virtual_host_that_was_removed_is_neither_shown_nor_counted(node: Any) -> None:
    node.bus.publish(role("lan", 7, Role.MASTER), source="carp/carp")
    node.bus.publish(role("lan", 1, Role.REMOVED), source="carp/carp")
    status = ha_status(node, now=100.0)
    assert ([vip["vhid"] for vip in status["vips"]], status["role"]) == ([7], "MASTER")
    assert status["summary"] == "fw1 is MASTER of its virtual host"


def test_what_a_service_says_in_three_ways_is_one_problem(node: Any) -> None:
    node.bus.publish(link("wan", up=False), source="interfaces/links")
    node.bus.publish(link("dmz", up=False, present=False), source="interfaces/links")
    node.bus.publish(Status(health=Health.WARN, summary="no link: wan"), source="interfaces/links")
    node.bus.publish(Alarm(key="i", what="dmz: there is no device dmz0", fix="Check."), source="interfaces/links")
    assert whats(ha_status(node, now=100.0)) == ["wan (wan0) has no link", "dmz: there is no device dmz0"]


def test_an_alarm_speaks_for_the_status_of_its_source_and_the_worst_comes_first(node: Any) -> None:
    node.bus.publish(Status(health=Health.WARN, summary="bad adverts"), source="carp/carp")
    node.bus.publish(Status(health=Health.WARN, summary="lease file is old"), source="dhcp/kea")
    node.bus.publish(Alarm(key="a", what="wrong password on lan", fix="Compare."), source="carp/carp")
    node.bus.publish(Alarm(key="b", what="gone", fix="-", active=False), source="carp/carp")
    node.bus.publish(Alarm(key="c", health=Health.FAIL, what="disk full", fix="Free space."), source="host")
    status = ha_status(node, now=100.0)
    assert status["problems"] == [
        {"what": "disk full", "fix": "Free space.", "health": "fail"},
        {"what": "wrong password on lan", "fix": "Compare.", "health": "warn"},
        {
            "what": "dhcp/kea: lease file is old",
            "fix": "See `appliance show services` and `appliance doctor`.",
            "health": "warn",
        },
    ]
    assert [alarm["key"] for alarm in active_alarms(node, now=130.0)] == ["c", "a"]
    assert active_alarms(node, now=130.0)[0]["age_s"] == 30.0


def test_an_empty_node_says_so(node: Any) -> None:
    status = ha_status(node, now=100.0)
    assert status["summary"] == "fw1 has no virtual hosts"
    assert status["config"]["revision"] is None
