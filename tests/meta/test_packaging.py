"""The distribution is complete, declares what it imports, and importing it is free of surprises."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.meta.source import CORE, EXAMPLES, IMAGES, PLUGINS, ROOT, imports, python_files

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def run_python(code: str) -> str:
    argv = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_contains_every_plugin() -> None:
    listed = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(listed) == sorted(["core/appliance", *(str(path.relative_to(ROOT)) for path in (IMAGES, *PLUGINS))])


def test_every_plugin_has_an_entry_point_named_after_its_folder() -> None:
    declared = PYPROJECT["project"]["entry-points"]["appliance.plugins"]
    assert sorted(declared) == sorted(path.parent.name for path in (IMAGES, *PLUGINS))


def test_every_entry_point_loads() -> None:
    for target in PYPROJECT["project"]["entry-points"]["appliance.plugins"].values():
        module, _, name = target.partition(":")
        run_python(f"from {module} import {name}; {name}()")


def test_what_is_loaded_ahead_is_imported_without_the_heavy_packages_of_the_node() -> None:
    for module in PYPROJECT["project"]["entry-points"]["appliance.isolated"].values():
        heavy = ("pydantic", "pluggy", "structlog", "tomlkit", "appliance.config")
        code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
        assert run_python(code).strip() == "[]", module


@pytest.mark.parametrize("package", [CORE, IMAGES, *PLUGINS, *EXAMPLES], ids=lambda path: path.name)
def test_packages_say_that_they_are_typed(package: Path) -> None:
    assert (package / "py.typed").exists()


@pytest.mark.parametrize("package", [IMAGES, *PLUGINS, *EXAMPLES], ids=lambda path: path.name)
def test_every_plugin_has_a_readme_beside_its_package(package: Path) -> None:
    assert len((package.parent / "README.md").read_text()) > 500


def test_third_party_imports_are_declared() -> None:
    project = PYPROJECT["project"]
    declared = {
        re.split(r"[^A-Za-z0-9_.-]", requirement)[0].lower().replace("_", "-")
        for requirement in [
            *project["dependencies"],
            *(item for extra in ("testing", "capture", "metrics") for item in project["optional-dependencies"][extra]),
        ]
    }
    owners = packages_distributions()
    own = {"appliance", *(path.name for path in (IMAGES, *PLUGINS))}
    wrong = [
        str(found)
        for path in python_files(CORE, IMAGES, *PLUGINS)
        for found in imports(path)
        if (top := found.module.partition(".")[0]) not in own | sys.stdlib_module_names
        and not declared & {name.lower().replace("_", "-") for name in owners.get(top, [])}
    ]
    # pydantic_core comes with pydantic, which pins it.
    assert [line for line in wrong if not line.endswith("imports pydantic_core")] == []


def test_importing_the_package_imports_nothing_else() -> None:
    loaded = run_python("import sys, appliance; print(sorted(m for m in sys.modules if m.startswith('appliance')))")
    assert loaded.strip() in {"['appliance']", "['appliance', 'appliance._version']"}


def test_the_pytest_plugin_imports_nothing_of_the_product() -> None:
    code = (
        "import sys, appliance.testing.pytest_plugin;"
        "print(sorted(m for m in sys.modules if m.startswith('appliance.') or m in {'trio', 'pydantic'}))"
    )
    loaded = run_python(code).strip()
    assert set(ast.literal_eval(loaded)) <= {
        "appliance._version",
        "appliance.testing",
        "appliance.testing.pytest_plugin",
    }


def test_the_command_line_starts_without_the_heavy_packages() -> None:
    heavy = ("trio", "pydantic", "pyroute2", "structlog")
    code = f"import sys, appliance.cli; print([name for name in {heavy} if name in sys.modules])"
    assert run_python(code).strip() == "[]"


def test_every_module_imports_without_a_warning() -> None:
    names = [
        ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")
        for package in (CORE, IMAGES, *PLUGINS)
        for path in python_files(package)
        if path.stem != "__main__"
    ]
    run_python(f"import importlib\nfor name in {names!r}: importlib.import_module(name)")
