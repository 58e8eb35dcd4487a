"""Makes the archive of an image: ``python -m appliance_images.imports.record FILE FOLDER=PATH …``

Runs in the Python of the image while the image is built. It imports the node and everything else of ours, notes what
that imported and which texts were compiled, and keeps the compiled code of each. FOLDER is a folder of this machine
whose content is at PATH in the image. Compiled files that the image need not have any more are named in FILE.instead.
"""

from __future__ import annotations

import importlib
import os
import sys
from importlib.machinery import SourceFileLoader

from appliance_images.imports import archive, finder

TYPE_CHECKING = False
"""As in `typing`, which is to be recorded."""
if TYPE_CHECKING:
    from types import CodeType, ModuleType

INSTEAD = ".instead"
HEADER_BYTES = 16
"""Of a compiled file (PEP 552)."""
FIRST = ("appliance.cli", "appliance.console.commands.run", "appliance.host.appliance", "appliance.host.isolated")
"""In the order of a start."""
PREFIX = "appliance"
NOT_WANTED = (".lab.", ".testing.", ".__main__.")
"""Parts of our packages that no image imports."""


def main(argv: list[str]) -> int:
    """Entry point."""
    before = frozenset(sys.modules)  # in an image they are there before the archive, too
    target, *folders = argv
    generated: dict[str, CodeType] = {}
    _listen(generated)
    for name in [*FIRST, *_plugins(), *_ours()]:
        _imported(name)
    mapping = dict(folder.split("=", 1) for folder in folders)
    modules, instead = {}, []
    for name, module in sys.modules.items():
        if name not in before and (file := _cached(name, module)) and (found := _compiled(module, file, mapping)):
            modules[name] = found
            instead.append(f"{_there(file, mapping)}\n")
    archive.write(target, modules, generated)
    with open(target + INSTEAD, "w", encoding="utf-8") as listing:
        listing.writelines(instead)
    return 0


def _imported(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit):  # noqa: BLE001 - what cannot be imported is imported, or complained of, where it is used
        return None


def _listen(generated: dict[str, CodeType]) -> None:
    """Keep what is compiled from now on."""

    def compiled(file: str, text: str) -> CodeType:
        key = finder.key_of(file, text)
        if key not in generated:
            generated[key] = compile(text, file, "exec", dont_inherit=True)
        return generated[key]

    for name in finder.GENERATORS:
        if (module := _imported(name)) is not None:
            vars(module).update(finder.replacements(compiled))


def _plugins() -> list[str]:
    from importlib.metadata import entry_points

    return sorted(point.module for point in entry_points(group="appliance.plugins"))


def _ours() -> list[str]:
    """Every module of our packages, and of plugins that have our prefix."""
    import pkgutil

    found = []
    for top in sorted(module.name for module in pkgutil.iter_modules() if module.name.startswith(PREFIX)):
        if (package := _imported(top)) is not None:
            paths = list(getattr(package, "__path__", ()))
            found += [each.name for each in pkgutil.walk_packages(paths, f"{top}.", onerror=lambda _: None)]
    return [name for name in found if not any(part in f"{name}." for part in NOT_WANTED)]


def _cached(name: str, module: ModuleType) -> str | None:
    """The compiled file of an ordinary module."""
    spec = getattr(module, "__spec__", None)
    if spec is None or name != spec.name or type(spec.loader) is not SourceFileLoader:
        return None
    return str(spec.cached)


def _compiled(module: ModuleType, file: str, mapping: dict[str, str]) -> tuple[str, bool, bytes] | None:
    origin = _there(str(module.__file__), mapping)
    if origin is None:
        return None
    try:
        with open(file, "rb") as opened:
            data = opened.read()
    except OSError:
        return None
    return origin, hasattr(module, "__path__"), data[HEADER_BYTES:]


def _there(path: str, mapping: dict[str, str]) -> str | None:
    """Where a file of this machine is in the image."""
    folder = next((each for each in mapping if path.startswith(f"{each}/")), None)
    return None if folder is None else os.path.join(mapping[folder], os.path.relpath(path, folder))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
