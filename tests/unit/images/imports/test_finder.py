"""A Python that imports from an archive works as one that does not."""

from __future__ import annotations

import subprocess
import sys
from ast import literal_eval
from collections.abc import Iterator

import pytest

from appliance_images.imports import archive, finder
from tests.unit.images.imports.recorded import PACKAGE, Recorded, record

LOADER = f"import {PACKAGE}.shapes as m; print(type(m.__spec__.loader).__name__)"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return record(tmp_path_factory.mktemp("recorded"))


@pytest.fixture
def recorded(original: Recorded) -> Iterator[Recorded]:
    """The recorded package; a test may change the archive."""
    data = original.file.read_bytes()
    yield original
    original.file.write_bytes(data)


def test_modules_come_from_the_archive(recorded: Recorded) -> None:
    assert recorded.python("-c", LOADER) == "Loader\n"


def test_no_compiled_file_is_needed(recorded: Recorded) -> None:
    for file in recorded.instead_of:
        file.unlink(missing_ok=True)
    recorded.python("-B", "-c", LOADER)
    assert not list((recorded.site / PACKAGE / "__pycache__").glob("shapes*"))


def test_a_dataclass_is_made_of_what_was_compiled_before(recorded: Recorded) -> None:
    program = (
        "import builtins, dataclasses\n"
        "real, texts = compile, []\n"
        "builtins.compile = lambda *a, **k: (texts.append(a[0]), real(*a, **k))[1]\n"
        f"from {PACKAGE}.shapes import Point\n"
        "print(Point(1), Point(1) < Point(2), hash(Point(1)) == hash(Point(1)), texts)\n"
    )
    assert recorded.python("-c", program) == "Point(x=1, y=2) True True []\n"


def test_a_dataclass_that_nobody_has_seen_is_compiled_as_always(recorded: Recorded) -> None:
    program = "import dataclasses\n@dataclasses.dataclass\nclass New:\n    never_seen: int = 3\nprint(New())"
    assert recorded.python("-c", program) == "New(never_seen=3)\n"


def test_a_class_of_attrs_works_with_it(recorded: Recorded) -> None:
    program = "import attrs\n@attrs.frozen\nclass New:\n    never_seen: int = 3\nprint(New(), New() == New())"
    assert recorded.python("-c", program) == "New(never_seen=3) True\n"


def test_resources_are_where_they_were(recorded: Recorded) -> None:
    program = f"from importlib.resources import files; print(files({PACKAGE!r}).joinpath('text.txt').read_text())"
    assert recorded.python("-c", program) == "a resource\n"


def test_a_module_can_be_run(recorded: Recorded) -> None:
    assert recorded.python("-m", f"{PACKAGE}.command") == f"ran {PACKAGE}.command\n"


def test_tracebacks_show_the_source(recorded: Recorded) -> None:
    program = f"import traceback, {PACKAGE}.wrong as w\ntry: w.fail()\nexcept ValueError: print(traceback.format_exc())"
    said = recorded.python("-c", program)
    assert f"{PACKAGE}/wrong.py" in said
    assert "raise ValueError('as always')" in said


def test_a_damaged_place_is_imported_from_its_source(recorded: Recorded) -> None:
    data = recorded.file.read_bytes()
    opened = archive.Archive(str(recorded.file))
    *_, offset, size = opened.modules[f"{PACKAGE}.shapes"]
    start = (
        len(data) - max(sum(place[-2:]) for place in (*opened.modules.values(), *opened.generated.values())) + offset
    )
    recorded.file.write_bytes(data[:start] + b"\0" * size + data[start + size :])
    assert recorded.python("-c", f"{LOADER}; print(m.Point(1))") == "Loader\nPoint(x=1, y=2)\n"


def test_a_program_may_close_every_file_and_open_others(recorded: Recorded) -> None:
    program = "import os; os.closerange(3, 64); files = [os.open('/dev/zero', os.O_RDONLY) for _ in range(8)]\n"
    assert recorded.python("-c", f"{program}{LOADER}; print(m.Point(1))") == "Loader\nPoint(x=1, y=2)\n"


@pytest.mark.parametrize("content", [b"", b"something else", None])
def test_without_a_usable_archive_everything_is_as_always(recorded: Recorded, content: bytes | None) -> None:
    if content is None:
        recorded.file.unlink()
    else:
        recorded.file.write_bytes(content)
    assert recorded.python("-c", LOADER, use=False) == "SourceFileLoader\n"


def test_it_imports_little_itself() -> None:
    program = f"import sys; old = set(sys.modules); import {finder.__name__}; print(sorted(set(sys.modules) - old))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {program}"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    new = set(literal_eval(done.stdout))
    assert {name for name in new if not name.startswith("appliance_images")} <= {
        *("__future__", "importlib", "importlib._bootstrap", "importlib._bootstrap_external", "importlib.machinery"),
        *("warnings", "_warnings", "os", "os.path", "posixpath", "genericpath", "stat", "_stat", "_collections_abc"),
    }
