"""A first start: the wizard's file gets a password that nobody else knows, and is taken into use."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import ApplianceError, UsageError
from appliance.identity.passwords import verify_password
from appliance_images import firstboot

PASSWORD = "correct horse"
WIZARD = """#!/bin/sh
# Stands for `appliance wizard --config C --output F --json`.
for name in fw1 fw2; do printf '[node]\\nname = "%s"\\n' $name >"$5/$name.toml"; done
cat <<END
{"this": "fw2", "nodes": ["fw1", "fw2"], "pair_with": "172.16.1.3",
 "files": {"fw1": "$5/fw1.toml", "fw2": "$5/fw2.toml"}}
END
"""


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of nodes that were started, with a wizard that has asked its questions."""
    program = tmp_path / "appliance"
    program.write_text(WIZARD)
    program.chmod(0o755)
    names: list[str] = []
    monkeypatch.setattr(firstboot, "PROGRAM", str(program))
    monkeypatch.setattr(firstboot, "start", names.append)
    return names


def test_the_node_of_this_machine_starts_with_the_password_that_was_typed(started: list[str], tmp_path: Path) -> None:
    config = tmp_path / "config" / "appliance.toml"
    config.parent.mkdir()
    made = firstboot.set_up(config, lambda _: PASSWORD)
    assert started == ["fw2"]
    for path, name in ((config, "fw2"), (config.with_name("fw1.toml"), "fw1")):
        tables = tomllib.loads(path.read_text())
        assert tables["node"]["name"] == name
        assert tables["users"]["admin"]["role"] == "operator"
        assert verify_password(PASSWORD, tables["users"]["admin"]["hash"])
        assert os.stat(path).st_mode & 0o777 == 0o600
    assert "on fw2: `pair --listen`" in firstboot.render(made)


def test_without_a_password_nothing_is_written(started: list[str], tmp_path: Path) -> None:
    answers: Iterator[str] = iter([*["short"] * 5, *[PASSWORD, "another"] * 5])
    with pytest.raises(UsageError, match="no new password"):
        firstboot.set_up(tmp_path / "appliance.toml", lambda _: next(answers))
    assert started == []
    assert not (tmp_path / "appliance.toml").exists()


def test_a_wizard_that_was_left_changes_nothing(started: list[str], tmp_path: Path) -> None:
    (tmp_path / "appliance").write_text("#!/bin/sh\nexit 130\n")
    with pytest.raises(ApplianceError, match="made no configuration"):
        firstboot.set_up(tmp_path / "appliance.toml", lambda _: PASSWORD)
    assert started == []


def test_another_password_is_a_commit() -> None:
    lines: list[Any] = []
    assert firstboot.change_password(lambda _: PASSWORD, lines.append) == {"user": "admin"}
    (typed,) = lines
    assert typed[0] == "configure"
    assert verify_password(PASSWORD, typed[2].split()[-1])
    assert typed[-1].startswith("commit ")
    assert PASSWORD not in json.dumps(typed)
