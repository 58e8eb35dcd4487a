"""The node loads while the system around it starts, and runs when that is ready."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance_images import start


def test_it_waits_until_the_system_is_ready(tmp_path: Path) -> None:
    ready, pauses = tmp_path / "ready", []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            ready.touch()

    start.wait_for(ready, pause=pause)
    assert pauses == [start.LOOK_S] * 3


def test_it_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "WAIT_S", 0.05)
    start.wait_for(tmp_path / "ready")


def test_the_node_reads_its_configuration_when_the_system_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "appliance.toml"
    monkeypatch.setattr(start, "CONFIG", config)
    monkeypatch.setattr(start, "STATE", tmp_path)

    def until_ready(ready: Path) -> None:
        assert ready == start.READY
        config.write_text("[node]\nname = 7\n")

    monkeypatch.setattr(start, "wait_for", until_ready)
    with pytest.raises(ApplianceError, match="needs text in quotes, not 7"):
        start.main()
