"""Imports modules from the archive of an image. The first thing that each Python there does, before any other import.

Whatever is not in the archive, or cannot be read from it, is imported as always: the archive makes a start quick and
nothing else. Modules know the same paths as without it, so tracebacks, resources and metadata are where they were.

Every dataclass, and every class of attrs, writes some functions as text and compiles them when its module is imported,
which is a third of the time of a start. They are compiled when the image is built; a text that was not seen then is
compiled as always.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec, SourceFileLoader

from appliance_images.imports.archive import Archive

TYPE_CHECKING = False
"""As in `typing`, which would have to be imported without the archive."""
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import CodeType, ModuleType
    from typing import Any

GENERATORS = ("dataclasses", "attr._make")
"""Modules that compile texts, each with a function of Python that it looks up by name: see `_compiled`."""
NAMELESS = "<string>"
"""The file of a text that `exec` compiles."""


def use(path: str) -> bool:
    """Import from the archive in this file from now on; false if it is of no use."""
    try:
        archive = Archive(path)
    except (OSError, ValueError, EOFError, TypeError):
        return False
    sys.meta_path.insert(0, Finder(archive))
    return True


def key_of(file: str, text: str) -> str:
    """Under which a generated text is kept."""
    return text if file == NAMELESS else f"{file}\n{text}"


class Finder:
    """Finds what is in an archive (`importlib.abc.MetaPathFinder`)."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module of this name, or ``None``."""
        module = self._archive.modules.get(name)
        if module is None:
            return None
        origin, is_package, offset, size = module
        loader = (GeneratorLoader if name in GENERATORS else Loader)(name, origin)
        loader.archive, loader.place = self._archive, (offset, size)
        spec = ModuleSpec(name, loader, origin=origin, is_package=is_package)
        spec.has_location = True
        if is_package:
            spec.submodule_search_locations = [origin.rpartition("/")[0]]
        return spec


class Loader(SourceFileLoader):
    """Loads code from an archive; sources and resources from where they are."""

    archive: Archive
    place: tuple[int, int]

    def get_code(self, fullname: str) -> CodeType | None:
        """The code of the module, from its source if the archive is damaged."""
        try:
            return self.archive.code(*self.place)
        except (OSError, ValueError, EOFError, TypeError):
            return super().get_code(fullname)


class GeneratorLoader(Loader):
    """Loads a module that compiles texts, and lets it find them compiled."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the module."""
        super().exec_module(module)
        vars(module).update(replacements(self.compiled))

    def compiled(self, file: str, text: str) -> CodeType:
        """The code of a text."""
        place = self.archive.generated.get(key_of(file, text))
        try:
            if place is not None:
                return self.archive.code(*place)
        except (OSError, ValueError, EOFError, TypeError):
            pass
        return compile(text, file, "exec", dont_inherit=True)


def replacements(compiled: Callable[[str, str], CodeType]) -> dict[str, Any]:
    """``exec`` and ``compile`` as generators of code use them, with compiled texts.

    A global name of a module comes before the function of Python with that name, and these modules call no other code
    through it.
    """

    def run(source: str | CodeType, globals: dict[str, Any] | None = None, locals: Any = None, /) -> None:  # noqa: A002
        code = compiled(NAMELESS, source) if isinstance(source, str) else source
        exec(code, globals, locals)

    def make(source: Any, filename: Any, mode: str, *rest: Any, **more: Any) -> Any:
        if mode == "exec" and isinstance(source, str) and isinstance(filename, str) and not rest and not more:
            return compiled(filename, source)
        return compile(source, filename, mode, *rest, **more)

    return {"exec": run, "compile": make}
