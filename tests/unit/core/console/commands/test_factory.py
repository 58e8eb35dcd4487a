"""Factory defaults: what a node was is set aside, never lost, and never taken from a node that runs."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from appliance.cli import main
from appliance.console.commands.factory import factory_defaults
from appliance.errors import ApplianceError, RefusedError
from appliance.host.statedir import locked_state_dir


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A configuration and the state of a node that was paired."""
    (tmp_path / "appliance.toml").write_text("[node]\n")
    (tmp_path / "state" / "xmlrpc-sync").mkdir(parents=True)
    (tmp_path / "state" / "xmlrpc-sync" / "identity").write_text("old")
    return tmp_path


def reset(folder: Path) -> list[str]:
    found = factory_defaults(str(folder / "appliance.toml"), str(folder / "state"), yes=True)
    assert not (folder / "appliance.toml").exists()
    assert not (folder / "state").exists()
    return [Path(each).name for each in found["copies"]]


def test_configuration_and_state_are_set_aside(machine: Path) -> None:
    assert reset(machine) == ["appliance.toml.before-defaults", "state.before-defaults"]
    assert (machine / "appliance.toml.before-defaults").read_text() == "[node]\n"
    assert (machine / "state.before-defaults" / "xmlrpc-sync" / "identity").read_text() == "old"


def test_the_copy_is_that_of_the_last_time_and_one_that_nothing_replaces_stays(machine: Path) -> None:
    reset(machine)
    (machine / "state").mkdir()
    assert reset(machine) == ["state.before-defaults"]
    assert (machine / "appliance.toml.before-defaults").read_text() == "[node]\n"
    assert not (machine / "state.before-defaults" / "xmlrpc-sync").exists()


def test_links_stay_and_what_they_lead_to_is_set_aside(machine: Path) -> None:
    (machine / "var").symlink_to("state")
    factory_defaults(str(machine / "appliance.toml"), str(machine / "var"), yes=True)
    assert (machine / "var").is_symlink()
    assert (machine / "state.before-defaults").is_dir()


def test_what_cannot_be_renamed_is_copied(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: object, target: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "rename", refuse)
    reset(machine)
    assert (machine / "state.before-defaults" / "xmlrpc-sync" / "identity").read_text() == "old"


def test_what_cannot_be_moved_stays_and_the_reason_is_told(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: object, target: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(shutil, "move", refuse)
    with pytest.raises(ApplianceError, match=r"cannot be moved to .*Permission denied"):
        reset(machine)
    assert (machine / "appliance.toml").exists()


def test_a_node_that_runs_keeps_everything(machine: Path) -> None:
    with locked_state_dir(machine / "state"), pytest.raises(ApplianceError, match="already runs"):
        reset(machine)
    assert (machine / "appliance.toml").exists()


def test_without_anything_there_is_nothing_to_do(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="there is neither"):
        reset(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_somebody_has_to_say_yes(
    machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ["factory-defaults", "-c", str(machine / "appliance.toml"), "--state-dir", str(machine / "state")]
    with open("/dev/null") as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert main(argv) == 2
    assert "need a yes" in capsys.readouterr().err
    assert (machine / "appliance.toml").exists()
    assert main([*argv, "--yes", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["copies"]) == 2
