"""The command line against a node that speaks the control protocol from a thread."""

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from appliance import cli
from appliance.console.commands import LOCAL_HEADS
from appliance.control import wire

Answer = Callable[[wire.Request], Sequence[wire.Reply]]


class FakeNode:
    """Answers every request and remembers it."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self.requests: list[wire.Request] = []
        self._answer = answer
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(8)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                line = connection.makefile("rb").readline()
                if not line:
                    return
                request = wire.decode_request(line)
                self.requests.append(request)
                # The client may leave early (`events | head`).
                with contextlib.suppress(ConnectionError):
                    connection.sendall(wire.encode_reply(wire.Greeting(node="fw1")))
                    for reply in self._answer(request):
                        connection.sendall(wire.encode_reply(reply))

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(self._listener.getsockname())
        self._thread.join()
        self._listener.close()


@pytest.fixture
def node_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answer], FakeNode]]:
    path, started = tmp_path / "s", list[FakeNode]()
    monkeypatch.setenv("APPLIANCE_SOCKET", str(path))

    def start(answer: Answer) -> FakeNode:
        started.append(FakeNode(path, answer))
        return started[-1]

    yield start
    for node in started:
        node.close()


@pytest.fixture
def no_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("APPLIANCE_SOCKET", str(tmp_path / "absent"))
    return tmp_path / "absent"


def carp(request: wire.Request) -> Sequence[wire.Reply]:
    reply = wire.Data(data={"node": "fw1"}) if request.json else wire.Text(text="fw1 is MASTER")
    return [reply, wire.Exit(status=0)]


def child(*argv: str, code: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    script = f"import sys\nfrom appliance import cli\nstatus = cli.main(sys.argv[1:])\n{code}\nsys.exit(status)"
    return subprocess.run(
        [sys.executable, "-c", script, *argv],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, **env},
        check=False,
    )


def test_words_go_to_the_node_and_its_text_is_printed(
    node_at: Callable[[Answer], FakeNode], capsys: pytest.CaptureFixture[str]
) -> None:
    node = node_at(carp)
    assert cli.main(["show", "carp", "--vhid", "3"]) == 0
    assert capsys.readouterr().out == "fw1 is MASTER\n"
    assert node.requests == [wire.Request(argv=("show", "carp", "--vhid", "3"))]


@pytest.mark.parametrize("argv", [["show", "carp", "--json"], ["--json", "show", "carp"], ["show", "--json", "carp"]])
def test_json_is_one_line_of_json_when_it_is_not_for_a_terminal(
    argv: list[str], node_at: Callable[[Answer], FakeNode], capsys: pytest.CaptureFixture[str]
) -> None:
    node = node_at(carp)
    assert cli.main(argv) == 0
    out = capsys.readouterr().out
    assert json.loads(out) == {"node": "fw1"}
    assert out.count("\n") == 1
    assert node.requests == [wire.Request(argv=("show", "carp"), json=True)]


@pytest.mark.parametrize("option", ["--socket", "-s", "--socket="])
def test_the_option_beats_the_environment(
    option: str,
    node_at: Callable[[Answer], FakeNode],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    node_at(carp)
    path = os.environ["APPLIANCE_SOCKET"]
    monkeypatch.setenv("APPLIANCE_SOCKET", "/nonexistent/socket")
    words = [option + path] if option.endswith("=") else [option, path]
    assert cli.main([*words, "show", "carp"]) == 0
    assert capsys.readouterr().out == "fw1 is MASTER\n"


def test_a_failure_is_two_lines_on_standard_error_and_its_status(
    node_at: Callable[[Answer], FakeNode], capsys: pytest.CaptureFixture[str]
) -> None:
    node_at(lambda _: [wire.Text(text="half"), wire.Failure(message="no healthy peer", hint="Use --force.", exit=1)])
    assert cli.main(["ha", "switchover"]) == 1
    printed = capsys.readouterr()
    assert printed.out == "half\n"
    assert printed.err == "appliance: no healthy peer\n  Use --force.\n"


def test_the_exit_status_of_a_command_is_passed_on(node_at: Callable[[Answer], FakeNode]) -> None:
    node_at(lambda _: [wire.Exit(status=1)])
    assert cli.main(["doctor"]) == 1


def test_no_node_is_status_3_with_a_remedy(no_node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", "ha"]) == 3
    message, hint = capsys.readouterr().err.splitlines()
    assert message == f"appliance: no node is running on {no_node}"
    assert hint.startswith("  Start it")


def test_an_unknown_word_without_a_node_is_status_3_too(no_node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["frobnicate"]) == 3
    assert "no node is running" in capsys.readouterr().err


def test_a_usage_error_of_a_local_command_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--stat-dir", "x"]) == 2
    message, hint = capsys.readouterr().err.splitlines()
    assert message == "appliance: unknown option --stat-dir (did you mean --state-dir?)"
    assert hint.startswith("  usage: appliance run")


def test_no_arguments_and_no_input_print_a_short_help(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert cli.main([]) == 0
    assert "show ha" in capsys.readouterr().out


def test_version_is_local_and_has_json(no_node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["version"]) == 0
    assert capsys.readouterr().out.startswith("appliance ")
    assert cli.main(["version", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"version", "plugin_api", "up_after_s"}
    assert told["up_after_s"] is None, "this machine is no image"


def test_an_image_says_how_long_its_start_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("appliance.console.commands.run.UP_FACTS", tmp_path / "up")
    (tmp_path / "up").write_text("17.25\n")
    assert cli.main(["version"]) == 0
    assert "could become MASTER 17.2 s after the kernel was started" in capsys.readouterr().out


@pytest.mark.parametrize("argv", [["run", "--help"], ["run", "-h"], ["--help", "run"]])
def test_help_of_a_local_command_needs_no_node(
    argv: list[str], no_node: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(argv) == 0
    assert "usage: appliance run [--config CONFIG]" in capsys.readouterr().out


def test_the_way_to_the_node_and_back_loads_neither_plugins_nor_libraries(
    node_at: Callable[[Answer], FakeNode],
) -> None:
    node_at(carp)
    done = child("show", "carp", code="print(*sorted(sys.modules))")
    answer, loaded = done.stdout.splitlines()
    assert answer == "fw1 is MASTER"
    modules = loaded.split()
    ours = [name for name in modules if name.startswith("appliance") and not name.startswith("appliance._")]
    assert ours == [
        "appliance",
        "appliance.cli",
        "appliance.control",
        "appliance.control.client",
        "appliance.control.wire",
        "appliance.errors",
    ]
    heavy = {"trio", "pydantic", "structlog", "tomlkit", "prompt_toolkit", "cryptography", "pluggy", "asyncio"}
    assert heavy.isdisjoint(modules)


def test_help_comes_from_the_node_where_there_is_one(
    node_at: Callable[[Answer], FakeNode], capsys: pytest.CaptureFixture[str]
) -> None:
    node = node_at(lambda _: [wire.Text(text="usage: appliance show carp"), wire.Exit(status=0)])
    assert cli.main(["show", "carp", "--help"]) == 0
    assert capsys.readouterr().out == "usage: appliance show carp\n"
    assert node.requests == [wire.Request(argv=("show", "carp", "--help"))]


@pytest.mark.parametrize("reply", [wire.Failure(message="no", hint="no", exit=1), wire.RunLocally()])
def test_help_that_the_node_does_not_give_is_made_here(
    reply: wire.Reply, node_at: Callable[[Answer], FakeNode], capsys: pytest.CaptureFixture[str]
) -> None:
    node_at(lambda _: [reply])
    assert cli.main(["show", "carp", "-h"]) == 0
    assert capsys.readouterr().out.startswith("usage: appliance show carp")


@pytest.mark.parametrize("argv", [["show", "--help"], ["help", "show"]])
def test_help_of_the_nodes_commands_needs_no_node(
    argv: list[str], no_node: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(argv) == 0
    out = capsys.readouterr().out
    assert "show ha" in out
    assert "show services" in out


def test_a_command_that_the_node_sends_back_runs_here(
    node_at: Callable[[Answer], FakeNode], capsys: pytest.CaptureFixture[str]
) -> None:
    node_at(lambda _: [wire.RunLocally()])
    assert cli.main(["frobnicate"]) == 2
    assert "unknown command `frobnicate`" in capsys.readouterr().err


def test_an_interrupt_is_quiet_and_status_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> Iterator[wire.Reply]:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.client, "request", interrupt)
    assert cli.main(["events", "--follow"]) == 130
    assert capsys.readouterr().err == ""


def test_a_closed_pipe_is_quiet(node_at: Callable[[Answer], FakeNode]) -> None:
    node_at(lambda _: [wire.Text(text="x" * 10_000)] * 200)
    script = f"{sys.executable} -c 'import sys; from appliance import cli; sys.exit(cli.main())' events --follow"
    result = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {script} | head -c 10"], capture_output=True, timeout=30, check=False
    )
    assert result.stdout == b"x" * 10
    assert result.stderr == b""
    assert result.returncode == cli.BROKEN_PIPE


def test_the_words_known_to_run_here_are_those_of_the_commands() -> None:
    assert set(LOCAL_HEADS) == cli.LOCAL_HEADS
    assert not cli.LOCAL_HEADS & cli.DAEMON_HEADS


def test_the_path_to_the_node_imports_next_to_nothing(node_at: Callable[[Answer], FakeNode]) -> None:
    node_at(carp)
    result = child("show", "carp", code="print(' '.join(sys.modules), file=sys.stderr)")
    assert result.stdout == "fw1 is MASTER\n"
    loaded = set(result.stderr.split())
    heavy = "trio pydantic pluggy structlog pyroute2 asyncio tomllib tomli argparse difflib pathlib logging"
    assert not set(heavy.split()) & loaded
    ours = {name for name in loaded if name.startswith("appliance")}
    assert ours == {
        "appliance",
        "appliance._version",
        "appliance.cli",
        "appliance.control",
        "appliance.control.client",
        "appliance.control.wire",
        "appliance.errors",
    }


def test_an_unreachable_node_is_found_without_importing_plugins(no_node: Path) -> None:
    result = child("show", "carp", code="print(len([m for m in sys.modules if m in ('trio', 'pydantic', 'pluggy')]))")
    assert result.returncode == 3
    assert result.stdout == "0\n"


def test_without_a_terminal_the_lines_of_standard_input_are_run(no_node: Path) -> None:
    script = "import sys; from appliance import cli; sys.exit(cli.main(sys.argv[1:]))"
    argv = [sys.executable, "-c", script, "--socket", str(no_node)]
    done = subprocess.run(argv, input="version\nshow ha\n", capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 3
    assert done.stdout.startswith("appliance ")
    assert done.stderr.startswith("line 2: no node is running")


def test_one_line_of_the_shell_may_be_given_as_an_argument(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["-c", "version | count"]) == 0
    assert capsys.readouterr().out == "1 lines\n"


@pytest.mark.parametrize("argv", [["-c"], ["-c", "show", "ha"]])
def test_a_line_of_the_shell_is_one_argument(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argv) == 2
    assert "-c needs one line of the shell, in quotes" in capsys.readouterr().err


def test_a_live_screen_does_not_clear_what_is_no_terminal(
    node_at: Callable[[Answer], FakeNode], capsys: pytest.CaptureFixture[str]
) -> None:
    node_at(carp)
    assert cli.main(["monitor", "ha"]) == 0
    assert capsys.readouterr().out == "fw1 is MASTER\n"
