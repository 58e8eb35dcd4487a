"""What the tests of this folder share: where the source is and what each file imports."""

from __future__ import annotations

import ast
import functools
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "core" / "appliance"
PLUGINS = tuple(sorted(path for path in (ROOT / "plugins").glob("*/appliance_*") if (path / "__init__.py").exists()))
IMAGES = ROOT / "images" / "appliance_images"
"""A plugin too, but one that may look into the core: it builds what the core runs in."""
EXAMPLES = tuple(sorted(path for path in (ROOT / "examples").glob("*/appliance_*") if (path / "__init__.py").exists()))


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module and where."""

    path: Path
    line: int
    module: str
    typing_only: bool

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}: imports {self.module}"


def python_files(*folders: Path) -> list[Path]:
    """Every Python file below these folders, in order."""
    return sorted(path for folder in folders for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


@functools.cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> Iterator[Import]:
    """All imports of a file, also those inside functions."""
    yield from _imports(path, parsed(path).body, typing_only=False)


def _imports(path: Path, body: list[ast.stmt], *, typing_only: bool) -> Iterator[Import]:
    for statement in body:
        if isinstance(statement, ast.If) and ast.unparse(statement.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            yield from _imports(path, statement.body, typing_only=True)
            yield from _imports(path, statement.orelse, typing_only=typing_only)
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Import):
                yield from (Import(path, node.lineno, alias.name, typing_only) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                yield Import(path, node.lineno, node.module, typing_only)


def inside(module: str, *packages: str) -> bool:
    """Whether a module is one of these packages or below one."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def tracked_files() -> list[Path]:
    """What a commit would contain: versioned files and new ones that are not ignored."""
    argv = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, timeout=30).stdout
    return [ROOT / name for name in listing.decode().split("\0") if name and (ROOT / name).exists()]
