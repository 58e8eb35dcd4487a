"""What an image imports from is recorded by importing it."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance_images.imports.archive import Archive
from tests.unit.images.imports.recorded import PACKAGE, Recorded, record


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return record(tmp_path_factory.mktemp("recorded"))


def test_modules_of_the_folders_are_in_it_and_no_others(recorded: Recorded) -> None:
    found = Archive(str(recorded.file)).modules
    assert set(found) == {PACKAGE, *(f"{PACKAGE}.{name}" for name in ("shapes", "wrong", "command", "talks"))}
    assert [name for name, (_, is_package, *_) in found.items() if is_package] == [PACKAGE]


@pytest.mark.parametrize("name", ["broken", "quits"])
def test_a_module_that_cannot_be_imported_stays_outside(recorded: Recorded, name: str) -> None:
    assert f"{PACKAGE}.{name}" not in Archive(str(recorded.file)).modules


def test_what_dataclasses_compile_is_in_it(recorded: Recorded) -> None:
    texts = [text for text in Archive(str(recorded.file)).generated if "def __init__" in text and "x:_type_x" in text]
    assert any("y:_type_y=_dflt_y" in text for text in texts)


def test_the_compiled_files_that_are_in_it_are_named_whatever_a_module_prints(recorded: Recorded) -> None:
    names = {path.name.split(".")[0] for path in recorded.instead_of}
    assert names == {"__init__", "shapes", "wrong", "command", "talks"}
    assert all(path.is_file() for path in recorded.instead_of)


def test_the_same_modules_make_the_same_file(recorded: Recorded, tmp_path: Path) -> None:
    recorded.again(tmp_path / "b", recorded.site)
    assert (tmp_path / "b").read_bytes() == recorded.file.read_bytes()


def test_paths_are_those_of_the_image(recorded: Recorded, tmp_path: Path) -> None:
    recorded.again(tmp_path / "b", Path("/usr/lib/site"))
    origin, *_ = Archive(str(tmp_path / "b")).modules[f"{PACKAGE}.shapes"]
    assert origin == f"/usr/lib/site/{PACKAGE}/shapes.py"
