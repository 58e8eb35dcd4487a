"""The node loads while the system around it starts, and runs when that is ready."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance_images import start
from appliance_images.session import example_config


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "fw1.toml"
    path.write_text(example_config("fw1"))
    return path


def loaded_with(config: Path) -> set[str]:
    """Modules of plugins that are loaded for a configuration, in a Python of their own."""
    program = (
        "import sys; from pathlib import Path; from appliance_images import start; "
        "start.load_plugins(Path(sys.argv[1])); print(*sys.modules)"
    )
    argv = [sys.executable, "-c", program, str(config)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    return {
        name for name in done.stdout.split() if re.fullmatch(r"appliance_\w+\.plugin|appliance\.host\.appliance", name)
    }


def test_plugins_are_loaded(config: Path) -> None:
    assert loaded_with(config) >= {"appliance_carp.plugin", "appliance_pfsync.plugin"}


def test_nothing_of_a_blocked_plugin_is_loaded(config: Path) -> None:
    config.write_text(config.read_text() + '\n[plugins]\nblocked = ["notify"]\n')
    loaded = loaded_with(config)
    assert "appliance_carp.plugin" in loaded
    assert "appliance_notify.plugin" not in loaded


@pytest.mark.parametrize("text", [None, "not = [toml", '[node]\nname = "fw1"\nunknown = 1\n'])
def test_without_a_readable_configuration_no_plugin_is_loaded(tmp_path: Path, text: str | None) -> None:
    config = tmp_path / "fw1.toml"
    if text is not None:
        config.write_text(text)
    assert loaded_with(config) == set()


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
    config, ready = tmp_path / "appliance.toml", tmp_path / "ready"
    monkeypatch.setattr(start, "CONFIG", config)
    monkeypatch.setattr(start, "STATE", tmp_path)
    monkeypatch.setattr(start, "READY", ready)

    def until_ready(ready: Path) -> None:
        config.write_text("[node]\nname = 7\n")

    monkeypatch.setattr(start, "wait_for", until_ready)
    with pytest.raises(ApplianceError, match="needs text in quotes, not 7"):
        start.main()
