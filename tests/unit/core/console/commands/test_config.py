"""The configuration commands, through the real control socket of a real node."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.console.commands.config import COMMANDS
from appliance.console.grammar import Grammar
from appliance.errors import ConfigError

TEXT = '[node]\nname = "fw1"\n'

NODE = """
import sys, trio
from pathlib import Path
from appliance.host.appliance import Appliance

folder = Path(sys.argv[1])
node = Appliance(config_path=folder / "a.toml", state_dir=folder / "state", socket=folder / "s", found=())

async def main():
    async with trio.open_nursery() as nursery:
        async def live(*, task_status):
            await node.run(handle_signals=True, task_status=task_status)
        await nursery.start(live)
        print("up", flush=True)

trio.run(main)
"""


def appliance(*words: str) -> subprocess.CompletedProcess[str]:
    """The command line, as an operator runs it."""
    return subprocess.run(
        [str(Path(sys.executable).parent / "appliance"), *words],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@contextmanager
def node(folder: Path) -> Iterator[str]:
    (folder / "a.toml").write_text(TEXT)
    process = subprocess.Popen(
        [sys.executable, "-c", NODE, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            yield str(folder / "s")
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == 0
        finally:
            process.kill()


def test_a_day_with_the_configuration_commands(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    with node(tmp_path) as socket:
        ask = lambda *words: appliance("config", *words, "--socket", socket)  # noqa: E731
        assert ask("show").stdout == f"# {file}, revision 1\n{TEXT}"
        assert ask("diff").stdout == "no difference\n"
        assert ask("reload").stdout == "revision 1 is in force; nothing had to change\n"

        file.write_text("# new\n" + TEXT)
        assert "+# new" in ask("diff").stdout
        assert ask("reload").stdout.startswith("revision 2 is in force; changed tables: none\n")
        rows = json.loads(ask("history", "--json").stdout)
        assert [(row["revision"], row["who"], row["in_force"]) for row in rows] == [
            (1, "node", False),
            (2, pwd.getpwuid(os.geteuid()).pw_name, True),
        ]
        assert ask("history").stdout.split("\n")[2].startswith("2*")
        assert "-# new" in ask("diff", "2", "1").stdout

        file.write_text(TEXT + "x = 1\n")
        refused = ask("reload")
        assert refused.returncode == 2
        assert f"{file}:3:1: node.x: unknown key; known here: console_login, formats, name, role" in refused.stderr

        back = ask("rollback", "1", "--confirm", "600")
        assert "rolls back in 600 s" in back.stdout
        assert file.read_text() == "# new\n" + TEXT  # the text in force before, until confirmed
        kept = ask("confirm")
        assert (kept.returncode, kept.stdout) == (0, "revision 3 is confirmed and stays in force\n")
        assert file.read_text() == TEXT
        assert ask("rollback", "9").returncode == 1


def test_check_prints_every_problem_and_exits_with_two(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('[node]\nnme = "fw1"\n[crap]\n')
    result = appliance("check", "-c", str(file))
    assert result.returncode == 2
    lines = result.stderr.split("\n")
    assert f"{file}:1:1: node.name: this key is required and missing (Host name of the node" in lines[0]
    assert lines[2] == f'{file}:2:1: node.nme: unknown key; did you mean "name"?'
    assert lines[4] == f"{file}:3:1: crap: unknown table; did you mean [carp]?"


def test_check_of_a_good_file_exits_with_zero_and_shows_warnings(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(TEXT + '[plugins]\nrequired = ["zeta"]\n')
    result = appliance("check", "-c", str(file))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == (
        f"{file}:4:13: warning: plugins.required[0]: the plugin zeta is not installed; the node will stay demoted\n"
        '     4 | required = ["zeta"]\n'
        f"{file}: no problem found; tables: none\n"
    )
    assert json.loads(appliance("check", "-c", str(file), "--json").stdout)["tables"] == []


def test_check_of_a_missing_file_is_a_configuration_error(tmp_path: Path) -> None:
    parsed = Grammar(COMMANDS).parse(["check", "--config", str(tmp_path / "none")])
    with pytest.raises(ConfigError, match="no such configuration file"):
        parsed.command.run(**parsed.arguments)


def test_checking_needs_no_privilege_and_leaves_nothing_behind(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(TEXT)
    assert appliance("check", "-c", str(file)).returncode == 0
    assert os.listdir(tmp_path) == ["a.toml"]
