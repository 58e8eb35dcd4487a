"""Who may import whom: the contracts of pyproject.toml, and rules that follow file names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.meta.source import CORE, EXAMPLES, IMAGES, PLUGINS, ROOT, imports, inside, python_files

PUBLIC = (
    "appliance.plugin",
    "appliance.events",
    "appliance.config",
    "appliance.net",
    "appliance.rpc",
    "appliance.identity",
    "appliance.errors",
)

SANS_IO = {"wire", "machine", "table", "rules", "stamp", "hello"}
"""Files of a plugin with these names know neither sockets nor clocks: time comes in as an argument."""

IO = ("trio", "socket", "time", "random", "os", "asyncio", "selectors", "threading", "subprocess")

HOMES = {
    "pyroute2": ("core/appliance/net/codec.py",),
    "pluggy": ("core/appliance/plugin/hookspecs.py", "core/appliance/host/plugins.py"),
    "pydantic": ("core/appliance/config/", "*/config.py"),
    "pydantic_core": ("core/appliance/config/",),
    "structlog": ("core/appliance/logs.py", "core/appliance/host/isolation.py", "core/appliance/testing/"),
    "tomlkit": ("core/appliance/config/",),
    "tomli": ("core/appliance/config/", "core/appliance/host/spares.py"),
    "prompt_toolkit": ("core/appliance/console/shell/terminal.py", "core/appliance/console/shell/history.py"),
    "pytest": ("core/appliance/testing/",),
    "h11": (
        "core/appliance/rpc/http.py",
        "core/appliance/rpc/client.py",
        "core/appliance/rpc/pages.py",
        "core/appliance/rpc/posting.py",
        "plugins/dhcp-failover/appliance_dhcp_failover/hook.py",
    ),
    "prometheus_client": ("plugins/metrics/appliance_metrics/exposition.py",),
}
"""A third-party package is known to few files, so that it can be replaced."""


def test_import_contracts() -> None:
    argv = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("package", [*PLUGINS, *EXAMPLES], ids=lambda path: path.name)
def test_plugins_import_only_what_is_public(package: Path) -> None:
    wrong = [
        str(found)
        for path in python_files(package)
        for found in imports(path)
        if inside(found.module, "appliance") and not inside(found.module, *PUBLIC)
    ]
    assert wrong == []


@pytest.mark.parametrize("package", [*PLUGINS, *EXAMPLES], ids=lambda path: path.name)
def test_plugins_do_not_import_each_other(package: Path) -> None:
    others = [other.name for other in (IMAGES, *PLUGINS, *EXAMPLES) if other != package]
    wrong = [str(found) for path in python_files(package) for found in imports(path) if inside(found.module, *others)]
    assert wrong == []


def test_core_imports_no_plugin() -> None:
    names = [package.name for package in (IMAGES, *PLUGINS, *EXAMPLES)]
    assert [str(found) for path in python_files(CORE) for found in imports(path) if inside(found.module, *names)] == []


def test_protocols_are_sans_io() -> None:
    wrong = [
        str(found)
        for path in python_files(*PLUGINS, *EXAMPLES)
        if path.stem in SANS_IO
        for found in imports(path)
        if not found.typing_only and inside(found.module, *IO, "appliance.net", "appliance.plugin")
    ]
    assert wrong == []


@pytest.mark.parametrize("package", sorted(HOMES))
def test_third_party_packages_stay_at_home(package: str) -> None:
    def at_home(path: Path) -> bool:
        name = str(path.relative_to(ROOT))
        return any(
            name.endswith(home[1:]) if home.startswith("*") else name.startswith(home) for home in HOMES[package]
        )

    wrong = [
        str(found)
        for path in python_files(CORE, IMAGES, *PLUGINS, *EXAMPLES)
        if not at_home(path)
        for found in imports(path)
        if inside(found.module, package)
    ]
    assert wrong == []
