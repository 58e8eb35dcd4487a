"""`ping` is the system's program, with a host and never an option of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.cli import main


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the program was called with, one word a line; it finds no answer."""
    program, words = tmp_path / "ping", tmp_path / "words"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{words}\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return words


def test_the_program_gets_the_host_and_its_status_is_ours(said: Path) -> None:
    assert main(["ping", "192.0.2.1", "--count", "2"]) == 1
    assert said.read_text().split() == ["-c", "2", "192.0.2.1"]
    assert main(["ping", "2001:db8::1"]) == 1
    assert said.read_text().split() == ["-c", "5", "2001:db8::1"]


def test_what_is_no_host_is_refused(said: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ping", "$(id)"]) == 2
    assert main(["ping", "192.0.2.1", "--count", "0"]) == 2
    assert not said.exists()
    assert "no address and no name" in capsys.readouterr().err


def test_without_the_program_there_is_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["ping", "192.0.2.1"]) == 1
    assert "Install the package iputils-ping." in capsys.readouterr().err
