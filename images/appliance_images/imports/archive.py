"""The file that modules are imported from: an index and, behind it, compiled code in the order in which it is wanted.

A node consists of some thousand modules. One by one they are looked for in several folders, opened and read, and on a
cold machine each one costs a place of a compressed file system; here they are one file that is read from front to back.
"""

from __future__ import annotations

import marshal
import os
import sys

TYPE_CHECKING = False
"""As in `typing`, which would have to be imported without the archive."""
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import CodeType

MAGIC = f"appliance modules 1 {sys.implementation.cache_tag}\n".encode()
"""Another Python has other byte code."""
CODE = type(compile("", "", "exec"))
LENGTH_BYTES = 8
STABLE = 2
"""The format of marshal without references, which depend on more than what is written."""

Place = tuple[int, int]
"""Where code is in the file: offset and size in bytes."""
Module = tuple[str, bool, int, int]
"""Path of the source, whether it is a package, and its place."""


class Archive:
    """An opened file."""

    def __init__(self, path: str) -> None:
        """Read the index.

        Raises:
            OSError: It cannot be read.
            ValueError: It is something else, or of another Python.
        """
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._identity = self._identify()
        try:
            head = os.pread(self._file, len(MAGIC) + LENGTH_BYTES, 0)
            if not head.startswith(MAGIC) or len(head) < len(MAGIC) + LENGTH_BYTES:
                raise ValueError(f"{path} holds no modules of this Python")
            length = int.from_bytes(head[len(MAGIC) :], "little")
            self.modules: dict[str, Module]
            self.generated: dict[str, Place]
            self.modules, self.generated = marshal.loads(os.pread(self._file, length, len(head)))
            self._start = len(head) + length
        except BaseException:
            os.close(self._file)
            raise

    def code(self, offset: int, size: int) -> CodeType:
        """The code of one place.

        Raises:
            OSError: It cannot be read any more: a program may close every file that it does not know.
            ValueError: It is damaged.
        """
        if self._identify() != self._identity:
            raise OSError("another file has the number of this one")
        code = marshal.loads(os.pread(self._file, size, self._start + offset))
        if not isinstance(code, CODE):
            raise ValueError("no code")  # noqa: TRY004 - of the file, not of a caller
        return code

    def _identify(self) -> tuple[int, int]:
        found = os.fstat(self._file)
        return found.st_dev, found.st_ino


def write(path: str, modules: Mapping[str, tuple[str, bool, bytes]], generated: Mapping[str, CodeType]) -> None:
    """Write a file; the same bytes for the same content in the same order.

    Args:
        path: Where to.
        modules: By name: path of the source, whether it is a package, its code in the format of marshal.
        generated: Code by the text it was compiled from.
    """
    places: dict[str, Module] = {}
    texts: dict[str, Place] = {}
    blobs: list[bytes] = []
    end = 0
    for name, (origin, is_package, blob) in modules.items():
        places[name] = (origin, is_package, end, len(blob))
        blobs.append(blob)
        end += len(blob)
    for text, code in generated.items():
        blob = marshal.dumps(code, STABLE)
        texts[text] = (end, len(blob))
        blobs.append(blob)
        end += len(blob)
    index = marshal.dumps((places, texts), STABLE)
    with open(path, "wb") as file:
        file.write(MAGIC + len(index).to_bytes(LENGTH_BYTES, "little") + index)
        file.writelines(blobs)
