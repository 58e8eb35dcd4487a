"""Private files: for nobody else, bounded, and old or new after a kill at any step."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance.identity.files import make_private_directory, read_private, remove_private, write_private

RunUntil = Callable[[int, Callable[[], object]], tuple[bool, list[str]]]


def test_what_is_written_is_read_and_is_for_the_owner_only(tmp_path: Path) -> None:
    write_private(tmp_path / "file", b"content")
    assert read_private(tmp_path / "file", size_max=7) == b"content"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["file"]


def test_a_missing_file_is_nothing(tmp_path: Path) -> None:
    assert read_private(tmp_path / "file", size_max=7) is None
    assert not remove_private(tmp_path / "file")


def test_a_removed_file_is_gone(tmp_path: Path) -> None:
    write_private(tmp_path / "file", b"")
    assert remove_private(tmp_path / "file")
    assert os.listdir(tmp_path) == []


def test_a_write_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, run_until: RunUntil) -> None:
    killed, steps = run_until(99, lambda: write_private(tmp_path / "file", b"new"))
    assert not killed
    assert steps == ["unlink", "open", "write", "fsync", "rename", "open", "fsync"]


@pytest.mark.parametrize("steps", range(7))
def test_a_kill_leaves_the_old_file_or_the_new_one_and_the_next_write_works(
    tmp_path: Path, run_until: RunUntil, steps: int
) -> None:
    path = tmp_path / "file"
    write_private(path, b"old")
    assert run_until(steps, lambda: write_private(path, b"new"))[0]
    assert read_private(path, size_max=9) == (b"old" if steps < 5 else b"new")
    write_private(path, b"newer")
    assert read_private(path, size_max=9) == b"newer"
    assert os.listdir(tmp_path) == ["file"]


def test_a_leftover_of_another_write_does_not_come_through(tmp_path: Path) -> None:
    (tmp_path / "file.new").write_text("a much longer leftover")
    (tmp_path / "file.new").chmod(0o644)
    write_private(tmp_path / "file", b"new")
    assert read_private(tmp_path / "file", size_max=9) == b"new"


def test_a_short_write_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: whole(handle, data[:2]))
    write_private(tmp_path / "file", b"content")
    assert (tmp_path / "file").read_bytes() == b"content"


def test_a_full_disk_is_told_and_the_old_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    write_private(tmp_path / "file", b"old")
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(ApplianceError, match="cannot be written: No space left") as refused:
        write_private(tmp_path / "file", b"new")
    assert "what was there before is kept" in refused.value.hint
    assert read_private(tmp_path / "file", size_max=9) == b"old"


def test_a_file_that_cannot_be_removed_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(ApplianceError, match="cannot be removed"):
        remove_private(tmp_path / "file")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    write_private(tmp_path / "file", b"x")
    (tmp_path / "file").chmod(mode)
    with pytest.raises(ApplianceError, match="is open to others") as refused:
        read_private(tmp_path / "file", size_max=9)
    assert refused.value.hint.startswith(f"chmod 600 {tmp_path / 'file'}")


def test_too_large_a_file_is_refused(tmp_path: Path) -> None:
    write_private(tmp_path / "file", b"12345678")
    assert read_private(tmp_path / "file", size_max=8) == b"12345678"
    with pytest.raises(ApplianceError, match="is larger than 7 bytes"):
        read_private(tmp_path / "file", size_max=7)


def test_links_and_pipes_are_not_read(tmp_path: Path) -> None:
    write_private(tmp_path / "file", b"x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with pytest.raises(ApplianceError, match="cannot be read"):
        read_private(tmp_path / "link", size_max=9)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ApplianceError, match="is not an ordinary file"):
        read_private(tmp_path / "pipe", size_max=9)


def test_a_directory_is_made_for_the_owner_only_and_checked_when_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    make_private_directory(path)
    make_private_directory(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    path.chmod(0o750)
    with pytest.raises(ApplianceError, match="is open to others") as refused:
        make_private_directory(path)
    assert refused.value.hint == f"chmod 700 {path}"


def test_what_is_not_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ApplianceError, match="cannot be made: File exists"):
        make_private_directory(tmp_path / "file")
    make_private_directory(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(ApplianceError, match="is not a directory"):
        make_private_directory(tmp_path / "link")
