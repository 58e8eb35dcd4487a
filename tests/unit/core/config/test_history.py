"""The history survives full disks, lost power and damaged files, and is readable by its owner only."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path

import pytest

from appliance.config import history as module
from appliance.config.history import History, write_atomically
from appliance.errors import ApplianceError, RefusedError


def filled(directory: Path, count: int) -> History:
    history = History(directory)
    for number in range(1, count + 1):
        history.append(f"x = {number}\n", comment=f"change {number}", who="root", when=1000.5 + number)
    return history


def test_revisions_are_numbered_from_one_and_come_back_as_written(tmp_path: Path) -> None:
    history = filled(tmp_path / "h", 2)
    assert [(r.number, r.who, r.comment, r.when, r.damage) for r in history.revisions()] == [
        (1, "root", "change 1", 1001.5, ""),
        (2, "root", "change 2", 1002.5, ""),
    ]
    assert history.read(1)[1] == "x = 1\n"
    latest = history.latest()
    assert latest is not None
    assert latest[1] == "x = 2\n"


def test_an_empty_history_is_no_error(tmp_path: Path) -> None:
    assert History(tmp_path / "none").revisions() == ()
    assert History(tmp_path / "none").latest() is None


def test_a_revision_is_a_valid_configuration_file_for_its_owner_only(tmp_path: Path) -> None:
    history = History(tmp_path / "h")
    history.append("x = 'é'\r\n", comment='line\nbreak "ü" \U0001f600' * 60, who="o" * 5000, when=0.0)
    (path,) = (tmp_path / "h").iterdir()
    assert tomllib.loads(path.read_text()) == {"x": "é"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert history.read(1)[1] == "x = 'é'\r\n"
    assert history.revisions()[0].damage == ""


def test_the_oldest_revisions_go_and_numbers_are_never_reused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REVISIONS_MAX", 3)
    history = filled(tmp_path, 5)
    assert [revision.number for revision in history.revisions()] == [3, 4, 5]
    with pytest.raises(RefusedError, match="there is no revision 1") as caught:
        history.read(1)
    assert "3 to 5" in caught.value.hint


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (b"", "not that of a revision"),
        (b"\xff\xfe\n", "not that of a revision"),
        (b"# appliance revision {]\nx = 2\n", "not that of a revision"),
        (b'# appliance revision {"revision": 2}\nx = 2\n', "lacks something"),
    ],
)
def test_one_damaged_revision_is_named_and_hides_no_other(tmp_path: Path, damage: bytes, expected: str) -> None:
    history = filled(tmp_path, 2)
    (tmp_path / "00000002.toml").write_bytes(damage)
    assert [bool(revision.damage) for revision in history.revisions()] == [False, True]
    with pytest.raises(RefusedError, match=expected):
        history.read(2)
    latest = history.latest()
    assert latest is not None
    assert latest[0].number == 1
    assert history.append("x = 3\n", comment="", who="", when=0.0).number == 3


def test_a_text_that_was_changed_on_disk_is_not_rolled_back_to(tmp_path: Path) -> None:
    history = filled(tmp_path, 1)
    path = tmp_path / "00000001.toml"
    path.write_bytes(path.read_bytes().replace(b"x = 1", b"x = 9"))
    with pytest.raises(RefusedError, match="checksum"):
        history.read(1)


def test_a_leftover_of_a_lost_write_is_cleaned_up(tmp_path: Path) -> None:
    (tmp_path / "00000001.toml.new").write_text("half")
    filled(tmp_path, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000001.toml"]


def test_a_history_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(ApplianceError, match="cannot be used") as caught:
        filled(blocked / "h", 1)
    assert "writable" in caught.value.hint


def test_an_atomic_write_keeps_the_old_file_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    write_atomically(path, b"old", mode=0o640)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new", mode=0o640)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
