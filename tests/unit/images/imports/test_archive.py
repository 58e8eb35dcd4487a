"""The file that an image imports from: what is written is read, anything else is refused."""

from __future__ import annotations

import marshal
from pathlib import Path
from types import CodeType

import pytest

from appliance_images.imports import archive
from appliance_images.imports.archive import Archive


def code(text: str) -> CodeType:
    return compile(text, "<string>", "exec", dont_inherit=True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "modules"
    one, two = marshal.dumps(code("a = 1")), marshal.dumps(code("b = 22"))
    archive.write(str(path), {"one": ("/x/one.py", False, one), "two": ("/x/two/__init__.py", True, two)}, {})
    return path


def test_code_comes_back_by_name(file: Path) -> None:
    opened = Archive(str(file))
    origin, is_package, offset, size = opened.modules["two"]
    assert (origin, is_package) == ("/x/two/__init__.py", True)
    assert opened.code(offset, size) == code("b = 22")


def test_generated_code_comes_back_by_its_text(tmp_path: Path) -> None:
    text = "def f(self):\n  return self.x"
    archive.write(str(tmp_path / "modules"), {}, {text: code(text)})
    opened = Archive(str(tmp_path / "modules"))
    assert opened.code(*opened.generated[text]) == code(text)


def test_equal_content_makes_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        archive.write(str(tmp_path / name), {"m": ("/m.py", False, b"x")}, {"pass": code("pass")})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_of_another_python_is_refused(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(archive.MAGIC) - 4] ^= 1
    file.write_bytes(data)
    with pytest.raises(ValueError, match="no modules of this Python"):
        Archive(str(file))


@pytest.mark.parametrize("size", [0, 10, 30])
def test_a_file_that_was_cut_off_is_refused(file: Path, size: int) -> None:
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises((ValueError, EOFError)):
        Archive(str(file))


def test_what_is_not_code_is_refused(tmp_path: Path) -> None:
    archive.write(str(tmp_path / "modules"), {"m": ("/m.py", False, marshal.dumps("text"))}, {})
    opened = Archive(str(tmp_path / "modules"))
    with pytest.raises(ValueError, match="no code"):
        opened.code(*opened.modules["m"][2:])
