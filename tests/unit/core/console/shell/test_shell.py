"""The shell without its terminal, at a node that runs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.console.shell.shell import Left, Shell
from appliance.console.shell.words import LineError
from appliance.errors import ApplianceError, RefusedError, UnreachableError


class Paper:
    """Keeps what is printed."""

    width = 0

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.pages: list[bool] = []
        self.cleared = 0

    def show(self, lines: Iterator[str], *, pages: bool, paint: Callable[[str], str] = str) -> None:
        del paint
        self.pages.append(pages)
        for line in lines:
            self.lines.append(line)
            if self.cleared:  # enough of a live screen
                return

    def clear(self) -> None:
        self.cleared += 1

    def taken(self) -> str:
        text, self.lines = "\n".join(self.lines), []
        return text


Says = Callable[..., str]


@pytest.fixture
def paper() -> Paper:
    return Paper()


@pytest.fixture
def shell(socket: str, paper: Paper) -> Iterator[Shell]:
    made = Shell(socket, paper)
    yield made
    made.leave()


@pytest.fixture
def says(shell: Shell, paper: Paper) -> Says:
    def says(*lines: str) -> str:
        for line in lines:
            assert shell.execute(line) == 0
        return paper.taken()

    return says


def offered(shell: Shell, text: str) -> list[str]:
    return [choice.text for choice in shell.complete(text)[0]]


def test_commands_of_the_node_may_be_abbreviated_and_filtered(says: Says) -> None:
    assert says("sh ver | m kern").startswith("kernel ")
    assert says("show users | count") == "2 lines"
    assert '"name": "admin"' in says("show users | json")
    assert '"name": "admin"' in says("show users --json")


def test_commands_of_this_machine_run_here(says: Says, capsys: pytest.CaptureFixture[str]) -> None:
    says("version")
    assert "plugin API" in capsys.readouterr().out
    assert says("version | match api").startswith("appliance ")


def test_the_configuration_in_force_is_shown_as_commands(says: Says, shell: Shell) -> None:
    assert says("show configuration | set") == says("config show | set")
    assert says("config show | set") == "set node name fw1\nset users admin role operator"
    with pytest.raises(RefusedError, match="only a configuration"):
        shell.execute("show version | set")


def test_empty_lines_and_comments_do_nothing(says: Says) -> None:
    assert says("", "   ", "# show ha") == ""


def test_what_is_wrong_is_said_with_its_place(shell: Shell) -> None:
    with pytest.raises(LineError, match="unknown command `cap`") as caught:
        shell.execute("show cap")
    assert caught.value.at == 5


def test_a_refusal_of_the_node_is_an_error_with_its_status(shell: Shell) -> None:
    with pytest.raises(ApplianceError, match="there is no revision 99") as caught:
        shell.execute("config rollback 99")
    assert caught.value.exit_code == 1


def test_the_exit_status_is_that_of_the_command(shell: Shell) -> None:
    assert shell.execute("doctor") in (0, 1)
    assert shell.execute("show ha") == 0


@pytest.mark.parametrize("word", ["exit", "quit", "ex"])
def test_the_shell_is_left(shell: Shell, word: str) -> None:
    with pytest.raises(Left):
        shell.execute(word)


def test_pages_are_for_what_ends(says: Says, paper: Paper, shell: Shell) -> None:
    says("show ha", "show ha | no-more")
    assert paper.pages == [True, False]
    shell.execute("monitor ha")
    assert (paper.pages[-1], paper.cleared) == (False, 1)


def test_completion_knows_commands_pipes_and_what_is_there(shell: Shell) -> None:
    assert {"show", "configure", "version", "lab", "exit"} <= set(offered(shell, ""))
    assert "shell" not in offered(shell, "")
    assert offered(shell, "configure ") == ["exclusive", "status"]
    assert offered(shell, "show ha | ma") == ["match"]
    assert offered(shell, "show ver") == ["version"]


def test_configuration_mode_begins_and_ends(says: Says, shell: Shell) -> None:
    says("configure", "edit users admin")
    assert shell.link is not None
    assert shell.link.place == "users admin"
    assert offered(shell, "set ro") == ["role"]
    assert offered(shell, "run show ver") == ["version"]
    assert "kernel" in says("run sh ver")
    says("exit")
    assert shell.link is not None
    says("exit")
    assert shell.link is None


def test_changes_are_not_forgotten_by_accident(says: Says, shell: Shell) -> None:
    says("configure", "set users bob role viewer")
    with pytest.raises(RefusedError, match="changes that are not committed") as caught:
        shell.execute("exit")
    assert caught.value.hint == "`commit` them, or `exit discard` to forget them."
    says("exit discard")
    assert shell.link is None


def test_the_second_is_told_who_edits(says: Says, socket: str) -> None:
    says("configure", "set users bob role viewer")
    other_paper = Paper()
    other = Shell(socket, other_paper)
    other.execute("configure")
    other.leave()
    assert "edits for" in other_paper.taken()
    with pytest.raises(ApplianceError, match="edits the configuration, for"):
        other.execute("configure exclusive")


def test_a_wrong_line_of_configuration_mode_has_its_place(says: Says, shell: Shell) -> None:
    says("configure")
    with pytest.raises(LineError, match="`king` cannot be the role") as caught:
        shell.execute("set users bob role king")
    assert caught.value.at == 19
    with pytest.raises(LineError, match="unknown command `sho-it`"):
        shell.execute("sho-it")


def test_secrets_are_noticed(says: Says, shell: Shell) -> None:
    says("configure", "set carp password hunter2")
    assert shell.has_secret
    says("show users")
    assert not shell.has_secret


def test_files_are_loaded_from_this_machine(says: Says, shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "part.toml"
    file.write_text('[users.bob]\nrole = "viewer"\ndescription = "' + "x" * 12_000 + '"\n')
    says("configure")
    assert says(f"load merge {file}") == "loaded; `compare` shows what `commit` would change"
    assert says("show users bob | match role") == 'role = "viewer"'
    with pytest.raises(LineError, match="cannot be read: No such file"):
        shell.execute(f"load override {tmp_path / 'absent'}")


def test_help_lists_the_verbs(says: Says) -> None:
    assert "commit confirmed" in says("configure", "help")


def test_without_a_node_the_shell_still_knows_its_commands(tmp_path: Path, paper: Paper) -> None:
    shell = Shell(str(tmp_path / "absent"), paper)
    assert "show" in offered(shell, "sh")
    assert shell.execute("version | count") == 0
    for line in ("show ha", "configure"):
        with pytest.raises(UnreachableError):
            shell.execute(line)
