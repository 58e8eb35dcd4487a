"""Sizes, banned calls, left-over marks, and the contents of the top folder."""

from __future__ import annotations

import ast
import re
import tokenize
from pathlib import Path

import pytest

from tests.meta.source import CORE, EXAMPLES, IMAGES, PLUGINS, ROOT, parsed, python_files, tracked_files

FILE_LINES_MAX = 500
TEST_LINES_MAX = 800
"""A test module follows its source; a long story of short tests is read one test at a time."""
FUNCTION_LINES_MAX = 70
PLUGIN_LINES_MAX = 150
LINE_LENGTH_MAX = 120

TOP = {
    ".ci", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "SECURITY.md",
    "appliance.toml", "changelog.d", "core", "docs", "examples", "images", "plugins", "pyproject.toml", "tests",
    "uv.lock",
}  # fmt: skip
"""All that the top folder may contain; notes and plans live elsewhere."""

BANNED = {
    "time.sleep": "it blocks the loop of the whole node; trio.sleep, or wait for what you are waiting for",
    "os.system": "run an argument list, without a shell",
    "asyncio.run": "one event loop: trio",
    "pytest.skip": "a test that cannot run here fails and says what is missing",
    "eval": "never on data",
    "exec": "never on data",
}

CONTAINMENT = {
    "core/appliance/bus/calls.py",
    "core/appliance/control/dispatch.py",
    "core/appliance/doctor.py",
    "core/appliance/host/bridge.py",
    "core/appliance/host/failures.py",
    "core/appliance/host/frames.py",
    "core/appliance/host/hooks.py",
    "core/appliance/host/isolated.py",
    "core/appliance/host/isolation.py",
    "core/appliance/rpc/containment.py",
    "core/appliance/host/plugins.py",
    "core/appliance/host/unit.py",
    "images/appliance_images/imports/record.py",
}
"""Where foreign code runs and must not take others down."""

SYNCHRONOUS = "core/appliance/lab/"
"""The lab and its probes are ordinary programs without an event loop; they may sleep."""

IMPORTER = "images/appliance_images/imports/finder.py"
"""Stands in for `exec` of modules that compile functions."""

MARKS = ("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK", "NotImplemented" + "Error")

PRODUCT = python_files(CORE, IMAGES, *PLUGINS, *EXAMPLES)
ALL = [path for path in tracked_files() if path.suffix == ".py"]


def short(path: Path, line: int = 0) -> str:
    return f"{path.relative_to(ROOT)}:{line}" if line else str(path.relative_to(ROOT))


def test_the_top_folder_contains_only_what_belongs_there() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in tracked_files()} - TOP == set()


def test_files_are_short_enough_to_read() -> None:
    lengths = {short(path): len(path.read_text().splitlines()) for path in ALL}
    assert {name: lines for name, lines in lengths.items() if lines > _lines_max(name)} == {}


def _lines_max(name: str) -> int:
    return TEST_LINES_MAX if name.startswith("tests/") else FILE_LINES_MAX


def test_plugin_files_hold_no_logic() -> None:
    files = [path for path in python_files(IMAGES, *PLUGINS, *EXAMPLES) if path.name == "plugin.py"]
    lengths = {short(path): len(path.read_text().splitlines()) for path in files}
    assert {name: lines for name, lines in lengths.items() if lines > PLUGIN_LINES_MAX} == {}


def test_functions_are_short_enough_to_see() -> None:
    long = [
        f"{short(path, node.lineno)} {node.name}: {node.end_lineno - node.lineno + 1} lines"
        for path in ALL
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert long == []


def test_every_file_says_what_it_is_for() -> None:
    silent = [short(path) for path in PRODUCT if path.read_text().strip() and not ast.get_docstring(parsed(path))]
    assert silent == []


@pytest.mark.parametrize("call", sorted(BANNED))
def test_banned_calls_do_not_occur(call: str) -> None:
    files = ALL if call == "pytest.skip" else PRODUCT
    found = [
        short(path, node.lineno)
        for path in files
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == call
        if not (call == "time.sleep" and short(path).startswith(SYNCHRONOUS))
        if not (call == "exec" and short(path) == IMPORTER)
    ]
    assert found == [], BANNED[call]


def test_nothing_uses_asyncio() -> None:
    found = [
        short(path, node.lineno)
        for path in PRODUCT
        for node in ast.walk(parsed(path))
        if (isinstance(node, ast.Import) and any(alias.name.partition(".")[0] == "asyncio" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "asyncio")
    ]
    assert found == []


def test_everything_is_caught_only_where_plugins_are_contained() -> None:
    found = [
        short(path, node.lineno)
        for path in PRODUCT
        if short(path) not in CONTAINMENT
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) == "Exception")
        # Whoever cleans up and passes the error on has not caught it.
        and not (isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None)
    ]
    assert found == []


def test_no_mark_of_unfinished_work_is_left() -> None:
    pattern = re.compile(rf"\b({'|'.join(MARKS)})\b")
    text_files = [path for path in tracked_files() if path.suffix in {".py", ".md", ".toml", ".sh", ".txt", ""}]
    found = [
        short(path, number)
        for path in text_files
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


def test_no_code_is_commented_out() -> None:
    code = re.compile(r"^#\s*(def |class |import |from \S+ import |return\b|if .*:$|for .*:$|\w+\(.*\)$|\w+ = )")
    found = []
    for path in ALL:
        with tokenize.open(path) as stream:
            found += [
                short(path, token.start[0])
                for token in tokenize.generate_tokens(stream.readline)
                if token.type == tokenize.COMMENT and code.match(token.string) and not token.string.endswith(".")
            ]
    assert found == []
