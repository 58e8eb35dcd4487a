"""When a system is healthy, and when a sick one leaves."""

from __future__ import annotations

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


def test_services_that_are_down_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"service": "carp/a", "state": "running"}, {"service": "pfsync/b", "state": "failed", "error": "no socket"}]
    monkeypatch.setattr(health, "is_active", lambda unit: True)
    monkeypatch.setattr(health, "answer", lambda socket, words: rows)
    (tmp_path / "appliance.toml").touch()
    assert health.problems(tmp_path / "appliance.toml") == ["service pfsync/b is down: no socket"]
