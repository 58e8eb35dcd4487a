"""Every source module has its test module where one would look for it."""

from __future__ import annotations

from pathlib import Path

from tests.meta.source import CORE, PLUGINS, ROOT, python_files

UNIT = ROOT / "tests" / "unit"

EXCEPTIONS = {
    # Declarations and re-exports: nothing to execute.
    "core/_version.py",
    "core/plugin/node.py",
}
"""Modules without a test of their own, each with a reason. May only shrink."""


def expected() -> dict[str, Path]:
    wanted: dict[str, Path] = {}
    for package, folder in [(CORE, UNIT / "core"), *((path, UNIT / "plugins" / path.parent.name) for path in PLUGINS)]:
        for path in python_files(package):
            if path.name == "__init__.py":
                continue
            relative = path.relative_to(package)
            name = f"{folder.relative_to(UNIT)}/{relative}"
            wanted[name] = folder / relative.parent / f"test_{path.stem.lstrip('_')}.py"
    return wanted


def test_every_module_has_a_test_module() -> None:
    missing = {name for name, test in expected().items() if not test.exists() and not _elsewhere(test)}
    assert sorted(missing - EXCEPTIONS) == []


def _elsewhere(test: Path) -> bool:
    # What needs a real kernel is tested there, under the same name.
    return any(found for tier in ("netns", "sim") for found in (ROOT / "tests" / tier).rglob(test.name))


def test_the_list_of_exceptions_only_shrinks() -> None:
    assert sorted(name for name in EXCEPTIONS if name not in expected() or expected()[name].exists()) == []
