"""When a system is healthy, and when a sick one leaves."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from appliance_images import health
from appliance_images.grubenv import BootState
from appliance_images.slots import Machine


def machine(state: BootState, slot: str) -> Machine:
    return cast("Machine", SimpleNamespace(slot=slot, boot_state=lambda: state))


@pytest.mark.parametrize(
    ("slot", "order", "left", "leaves"),
    [
        ("b", "ba", (3, 1), True),  # on trial, and the old one is there
        ("b", "ba", (0, 1), False),  # nowhere to go
        ("a", "ab", (2, 0), False),  # the good one, at its first boot since
        ("b", "ba", (3, 2), False),  # was good before: the watchdog and the operator deal with it
        ("a", "ba", (1, 0), False),  # already the one that we went back to
    ],
)
def test_a_sick_system_leaves_only_on_trial(slot: str, order: str, left: tuple[int, int], leaves: bool) -> None:
    assert health.must_go_back(machine(BootState(order=order, left=left), slot)) is leaves


def test_without_configuration_a_console_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "is_active", lambda unit: "tty1" in unit)
    assert health.problems(tmp_path / "absent") == []
    monkeypatch.setattr(health, "is_active", lambda unit: False)
    assert health.problems(tmp_path / "absent") == ["no console runs"]


def test_a_node_that_does_not_answer_is_sick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "is_active", lambda unit: True)
    (tmp_path / "appliance.toml").touch()
    (found,) = health.problems(tmp_path / "appliance.toml", str(tmp_path / "socket"))
    assert "the node does not answer" in found


SERVICES = [
    {"name": "carp/a", "state": "running", "error": None},
    {"name": "pfsync/b", "state": "failed", "error": "no socket"},
]
HA = {
    "vips": [
        {"interface": "lan", "vhid": 1, "state": "BACKUP", "reason": "a better master"},
        {"interface": "wan", "vhid": 2, "state": "INIT", "reason": "no link"},
        {"interface": "dmz", "vhid": 3, "state": "INIT", "reason": "not started"},
    ],
    "links": [{"interface": "lan", "up": True}, {"interface": "wan", "up": False}, {"interface": "dmz", "up": True}],
}


def test_services_that_are_down_and_virtual_hosts_without_a_role_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "is_active", lambda unit: True)
    monkeypatch.setattr(health, "answer", lambda socket, words: SERVICES if words[1] == "services" else HA)
    (tmp_path / "appliance.toml").touch()
    assert health.problems(tmp_path / "appliance.toml") == [
        "service pfsync/b is failed: no socket",
        "virtual host 3 on dmz has no role: not started",
    ]


def test_it_waits_until_what_is_wrong_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[list[str]] = [["starting"], ["starting"], []]
    monkeypatch.setattr(health, "LOOK_S", 0.0)
    monkeypatch.setattr(health, "problems", lambda config, socket: found.pop(0))
    assert health.settled(patience_s=60, stable_s=0) == []
    monkeypatch.setattr(health, "problems", lambda config, socket: ["sick"])
    assert health.settled(patience_s=0) == ["sick"]


def test_a_service_that_runs_between_two_crashes_is_not_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = itertools.cycle([["crashed"], [], []])
    monkeypatch.setattr(health, "LOOK_S", 0.01)
    monkeypatch.setattr(health, "problems", lambda config, socket: next(looks))
    assert health.settled(patience_s=0.2, stable_s=5) == ["crashed"]
