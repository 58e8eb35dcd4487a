"""`appliance menu` in a pseudo-terminal, and what it runs."""

from __future__ import annotations

import os
import pty
import select
import sys
from pathlib import Path

import pytest

from appliance.cli import main
from appliance.console.commands.menu import offers, run

WAIT_S = 30.0


def read_until(terminal: int, text: str) -> str:
    shown = ""
    while text not in shown:
        assert select.select([terminal], [], [], WAIT_S)[0], shown
        shown += os.read(terminal, 4096).decode()
    return shown


def test_the_menu_runs_an_entry_and_comes_back(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", "from appliance.cli import main; main()", "menu"]
    child, terminal = pty.fork()
    if child == 0:
        os.execve(argv[0], argv, os.environ | {"APPLIANCE_SOCKET": str(tmp_path / "none")})
    try:
        assert "no node is running" in read_until(terminal, "or a command: ")
        os.write(terminal, b"12\n")
        assert f"no node is running on {tmp_path}" in read_until(terminal, "or a command: ").replace("\r\n", "")
        os.write(terminal, b"0\n")
    finally:
        assert os.waitpid(child, 0)[1] == 0
        os.close(terminal)


def test_without_a_terminal_there_is_no_menu(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert main(["menu"]) == 2
    assert "the menu needs a terminal" in capsys.readouterr().err


def test_commands_of_plugins_are_offered_where_they_are_installed() -> None:
    assert offers(["image", "add"])
    assert not offers(["image"])
    assert not offers(["image", "paint"])


def test_a_program_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["there-is-no-such-program"]) == 1
    assert "cannot run there-is-no-such-program: No such file" in capsys.readouterr().out
