"""What a drill makes of a node's answers."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.lab.live_checks import (
    Situation,
    dhcp_is_with,
    judge_dhcp,
    judge_states,
    judge_status,
    judge_sync,
    situation,
)
from tests.unit.core.lab.live_scenes import Node, states

BEFORE = Situation(node="fw1", master="fw1", nodes={"fw2": True})


def seen(**changes: Any) -> Situation:
    return situation(Node().show_carp() | changes)


def test_one_node_is_master_of_everything() -> None:
    first = seen()
    assert (first.node, first.master, first.nodes, first.trouble) == ("fw1", "fw1", {"fw2": True}, "")
    assert (first.since, first.silent_s) == (1769860800.25, 0.4)
    assert BEFORE.is_master
    other = situation(Node(is_master=False).show_carp())
    assert (other.master, other.is_master, other.trouble) == ("fw2", False, "")


@pytest.mark.parametrize(
    ("changes", "trouble"),
    [
        ({"enabled": False}, "disabled"),
        ({"maintenance": True}, "demoted itself: maintenance"),
        ({"resigned": True}, "handed over"),
        ({"nodes": []}, "no other node is heard"),
        ({"vips": states("BACKUP")}, "nobody is MASTER"),
        ({"nodes": [{"name": "fw2", "alive": True, "states": states("MASTER")}]}, "fw1 and fw2 are MASTER"),
        (
            {
                "nodes": [
                    {"name": "fw2", "alive": True, "states": []},
                    {"name": "fw3", "alive": False, "states": states("MASTER")},
                ]
            },
            "fw3 is not heard any more",
        ),
    ],
)
def test_what_keeps_a_drill_from_beginning(changes: dict[str, Any], trouble: str) -> None:
    assert trouble in seen(**changes).trouble


def test_failures_and_silent_peers_are_wrong() -> None:
    peer = {"peer": "fw2", "alive": True, "summary": "BACKUP"}
    good = {"summary": "fw1 is MASTER", "problems": [{"what": "a warning", "health": "warn"}], "peers": [peer]}
    assert judge_status(good, BEFORE) == ("", "fw1 is MASTER; fw2 BACKUP")
    assert judge_status(good | {"problems": [{"what": "no link", "health": "fail"}]}, BEFORE)[0] == "no link"
    assert judge_status(good | {"peers": [peer | {"alive": False}]}, BEFORE)[0] == "fw2: BACKUP"


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({}, ""),
        ({"states": 50, "peer_states": 5}, ""),
        ({"states": 1000, "peer_states": 900}, ""),
        ({"states": 1000, "peer_states": 700}, "1000 states here, 700 on fw2"),
        ({"peer": None, "peer_states": None}, "no other node is heard by pfsync"),
        ({"bulk": "running"}, "the bulk update is running"),
        ({"error": "cannot bind"}, "cannot bind"),
    ],
)
def test_the_backup_has_the_states(changes: dict[str, Any], wrong: str) -> None:
    healthy = {"states": 10, "peer_states": 9, "peer": "fw2", "bulk": "done", "error": None}
    assert judge_states(healthy | changes, BEFORE)[0] == wrong


def test_the_configuration_is_the_same() -> None:
    healthy = {"role": "primary", "state": "in-sync", "peer": "fw2", "peer_generation": 7, "error": None}
    assert judge_sync(healthy, BEFORE) == ("", "fw2 has generation 7")
    assert judge_sync(healthy | {"state": "failing", "error": "refused"}, BEFORE)[0] == "failing: refused"
    assert judge_sync(healthy | {"state": "off", "role": "secondary"}, BEFORE)[0] == ""


def test_leases_come_from_the_node_with_the_addresses() -> None:
    answer = Node().show_dhcp()
    assert judge_dhcp(answer, BEFORE)[0] == ""
    assert dhcp_is_with(answer, "peer") == "lan is serving here and standby there"
    both = {**answer["pools"][0], "peer_state": "serving"}
    assert dhcp_is_with({"pools": [both]}, "me") == "lan is serving here and serving there"
    late = {**answer["pools"][0], "replication": "behind"}
    assert judge_dhcp(answer | {"pools": [late]}, BEFORE)[0] == "lan behind"
