"""Run by the interpreter of an otherwise empty environment: is what the wheels installed complete?

Every module of the installed packages must import, every declared plugin must load, the command must
start, and nothing may come from the source tree.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
import subprocess
import sys
from pathlib import Path

PACKAGES = ("appliance", "appliance_carp", "appliance_interfaces", "appliance_hello")


def main(venv: Path) -> None:
    """Check the environment in this folder, and say what was checked."""
    count = 0
    for package in PACKAGES:
        module = importlib.import_module(package)
        assert module.__file__ is not None
        assert Path(module.__file__).is_relative_to(venv), f"{package} comes from {module.__file__}"
        assert (Path(module.__file__).parent / "py.typed").exists(), f"{package} has no py.typed"
        for found in pkgutil.walk_packages(module.__path__, f"{package}."):
            if not found.name.endswith("__main__"):
                importlib.import_module(found.name)
                count += 1
    plugins = importlib.metadata.entry_points(group="appliance.plugins")
    names = sorted(entry.name for entry in plugins if entry.load())
    assert {"carp", "interfaces", "hello"} <= set(names), names
    told = subprocess.run([venv / "bin" / "appliance", "--help"], check=True, capture_output=True, timeout=30)
    assert b"lab demo" in told.stdout, told.stdout
    print(f"{count} modules import, plugins {', '.join(names)} load, the command starts")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
