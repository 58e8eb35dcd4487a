"""The key file: read when it changed, refused when it is not safe."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance_pfsync.keyfile import SIZE_MAX, KeyFile

ONE, TWO = f"one = {'11' * 32}\n", f"two = {'22' * 32}\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "pfsync.key"
    made.write_text(ONE)
    made.chmod(0o600)
    return made


def names(file: KeyFile) -> list[str] | None:
    keyring = file.read_if_changed()
    return None if keyring is None else [key.name for key in keyring.keys]


def test_it_is_read_once_and_again_when_it_changed(path: Path) -> None:
    file = KeyFile(str(path))
    assert names(file) == ["one"]
    assert names(file) is None
    path.write_text(TWO + ONE)
    assert names(file) == ["two", "one"]
    assert names(file) is None


def test_a_file_that_replaces_it_is_a_change_even_of_the_same_size_and_time(path: Path) -> None:
    file = KeyFile(str(path))
    names(file)
    when = path.stat().st_mtime_ns
    other = path.with_suffix(".new")
    other.write_text(TWO)
    other.chmod(0o600)
    os.utime(other, ns=(when, when))
    other.rename(path)
    assert names(file) == ["two"]


def test_without_a_path_there_is_nothing_to_read() -> None:
    assert KeyFile(None).read_if_changed() is None


def test_a_missing_file_says_how_to_make_one_and_is_read_as_soon_as_it_is_there(path: Path) -> None:
    path.rename(path.with_suffix(".away"))
    file = KeyFile(str(path))
    with pytest.raises(ApplianceError, match="cannot be read: No such file") as missing:
        file.read_if_changed()
    assert f"appliance pfsync key {path}" in missing.value.hint
    path.with_suffix(".away").rename(path)
    assert names(file) == ["one"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_file_that_others_may_touch_is_refused_until_it_is_corrected(path: Path, mode: int) -> None:
    file = KeyFile(str(path))
    path.chmod(mode)
    for _ in range(2):
        with pytest.raises(ApplianceError, match="can be read by others") as unsafe:
            file.read_if_changed()
    assert unsafe.value.hint == f"chmod 600 {path}"
    path.chmod(0o400)
    assert names(file) == ["one"]


def test_a_malformed_file_is_refused_each_time_until_it_is_corrected(path: Path) -> None:
    file = KeyFile(str(path))
    path.write_text("one = short\n")
    for _ in range(2):
        with pytest.raises(ApplianceError, match="line 1"):
            file.read_if_changed()
    path.write_text(ONE)
    assert names(file) == ["one"]


def test_a_huge_or_binary_file_is_refused_in_words(path: Path) -> None:
    path.write_bytes(b"#" * (SIZE_MAX + 1))
    with pytest.raises(ApplianceError, match="larger than"):
        KeyFile(str(path)).read_if_changed()
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ApplianceError):
        KeyFile(str(path)).read_if_changed()


def test_a_directory_is_no_key_file(tmp_path: Path) -> None:
    with pytest.raises(ApplianceError, match="cannot be read"):
        KeyFile(str(tmp_path)).read_if_changed()
