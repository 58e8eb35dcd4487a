"""`appliance wizard` from end to end: a file, lines, a dry run, and a second run."""

from __future__ import annotations

import io
import json
import stat
import sys
from pathlib import Path

import pytest

from appliance.cli import main
from tests.unit.core.console.wizard.people import check

ANSWERS = """
[network.wan]
device = "wan0"

[network.lan]
device = "lan0"

[network.sync]
device = "sync0"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "answers.toml").write_text(ANSWERS)
    return tmp_path


def run(folder: Path, *more: str) -> int:
    answers = ["--answers", str(folder / "answers.toml")]
    return main(["wizard", "-c", str(folder / "appliance.toml"), "-o", str(folder), *answers, *more])


def test_both_files_are_written_and_accepted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder) == 0
    shown = capsys.readouterr().out
    assert "appliance pair 172.16.1.3 --code CODE" in shown
    for name in ("fw1", "fw2"):
        path = folder / f"{name}.toml"
        assert check(path.read_text()) == ()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert main(["check", "-c", str(path)]) == 0


def test_a_dry_run_shows_both_files_and_writes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--dry-run", "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert set(data["texts"]) == {"fw1", "fw2"}
    assert data["files"] == {}
    assert sorted(path.name for path in folder.iterdir()) == ["answers.toml"]


def test_a_second_run_keeps_the_first_files_and_says_what_it_leaves_out(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder) == 0
    own = (folder / "fw1.toml").read_text()
    (folder / "appliance.toml").write_text(own + '\n[users.eve]\nrole = "viewer"\n')
    (folder / "answers.toml").write_text("")
    capsys.readouterr()
    assert run(folder) == 0
    assert "also has: [users]. The new ones do not." in capsys.readouterr().out
    assert (folder / "fw1.toml").read_text() == (folder / "fw1.toml.old").read_text() == own


def test_lines_of_a_pipe_are_answers(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [*[""] * 4, "wan0", *[""] * 4, "lan0", *[""] * 4, "sync0", *[""] * 3]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(lines) + "\n"))
    assert main(["wizard", "-c", str(folder / "none"), "-o", str(folder / "new")]) == 0
    assert "wan: device: " in capsys.readouterr().err
    assert sorted(path.name for path in (folder / "new").iterdir()) == ["fw1.toml", "fw2.toml"]


def test_a_wrong_answer_is_two_lines_and_nothing_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "answers.toml").write_text(ANSWERS.replace('"lan0"', '"lan0"\nipv4 = "198.51.100.0/24"'))
    assert run(folder) == 2
    assert capsys.readouterr().err == (
        "appliance: `network.lan.ipv4`: 198.51.100.0/24 overlaps 198.51.100.0/24\n"
        "  Each network needs addresses of its own.\n"
    )
    assert not (folder / "fw1.toml").exists()
