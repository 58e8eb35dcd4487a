"""Typed lines are kept over sessions, but for secrets."""

import stat
from pathlib import Path

from appliance.console.shell.history import LINES_MAX, TypedLines, history_path


def typed(history: TypedLines, line: str, *, is_kept: bool = True) -> None:
    """What the terminal does with a line."""
    list(history.load_history_strings()) if not history._loaded else None
    history.append_string(line)
    history.keep() if is_kept else history.forget()


def test_lines_are_there_in_the_next_session_newest_first(tmp_path: Path) -> None:
    path = tmp_path / "state" / "history"
    first = TypedLines(path)
    typed(first, "show ha")
    typed(first, "show carp")
    assert list(TypedLines(path).load_history_strings()) == ["show carp", "show ha"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_secret_is_neither_on_disk_nor_in_memory(tmp_path: Path) -> None:
    history = TypedLines(tmp_path / "history")
    typed(history, "show ha")
    typed(history, "set carp password hunter2", is_kept=False)
    assert history.get_strings() == ["show ha"]
    assert "hunter2" not in (tmp_path / "history").read_text()


def test_the_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_text("".join(f"line {number}\n" for number in range(LINES_MAX + 50)))
    assert len(list(TypedLines(path).load_history_strings())) == LINES_MAX
    assert path.read_text().startswith("line 50\n")


def test_a_place_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    history = TypedLines(tmp_path / "file" / "history")
    typed(history, "show ha")
    assert history.get_strings() == ["show ha"]


def test_the_place_is_the_users_state_directory() -> None:
    assert history_path({"XDG_STATE_HOME": "/x"}) == Path("/x/appliance/history")
    assert history_path({"HOME": "/home/olga"}) == Path("/home/olga/.local/state/appliance/history")
