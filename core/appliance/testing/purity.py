"""Notices when code that must only declare things does things.

Hooks are asked at any time, by the image builder and the documentation as well as by a node. So while
one is asked, opening a socket, starting a process or a thread, or writing a file is an offence; and
nothing a plugin does may change a variable of a module, because two nodes can live in one process.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import types
from collections import deque
from collections.abc import Iterator, Mapping
from contextvars import ContextVar

_FORBIDDEN = {
    "socket.__new__": "opened a socket",
    "socket.connect": "connected a socket",
    "subprocess.Popen": "started a process",
    "os.system": "started a process",
    "os.posix_spawn": "started a process",
    "os.fork": "forked",
    "os.mkdir": "made a directory",
    "os.remove": "removed a file",
    "os.rename": "renamed a file",
}

_offences: ContextVar[list[str] | None] = ContextVar("appliance_testing_offences", default=None)


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if event != "open" and event not in _FORBIDDEN:
        return
    offences = _offences.get()
    if offences is None:
        return
    if event != "open":
        offences.append(_FORBIDDEN[event])
    elif _writes(*arguments[:2]):
        offences.append(f"wrote to {arguments[0]}")


def _writes(path: object, mode: object) -> bool:
    # The import system writes byte code with a mode of None; that is Python's business, not the plugin's.
    return isinstance(mode, str) and bool(set(mode) & set("wax+")) and "__pycache__" not in str(path)


class _Installed:
    """An audit hook stays for the life of the interpreter, so it is installed once and idles."""

    done = False


@contextlib.contextmanager
def watched() -> Iterator[list[str]]:
    """Collect offences while the block lasts, as phrases for a sentence ("opened a socket")."""
    if not _Installed.done:
        _Installed.done = True
        sys.addaudithook(_audit)
    offences: list[str] = []
    token = _offences.set(offences)
    before = threading.active_count()
    # A hook may import what it declares; that Python then keeps the compiled module is not the hook's doing.
    compiles, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield offences
    finally:
        sys.dont_write_bytecode = compiles
        _offences.reset(token)
        # Python 3.11 audits no starting of threads; those that are still there can be counted.
        if threading.active_count() > before:
            offences.append("started a thread")


_PLAIN = (bool, int, float, complex, str, bytes, type(None), tuple, frozenset)
_CONTAINERS = (list, dict, set, bytearray, deque)


def module_state(package: str) -> Mapping[str, str]:
    """The variables of all loaded modules of a package that can change, with what they hold now."""
    state: dict[str, str] = {}
    for name, module in sorted(sys.modules.items()):
        if (name == package or name.startswith(f"{package}.")) and isinstance(module, types.ModuleType):
            for variable, value in vars(module).items():
                if not variable.startswith("__") and isinstance(value, _PLAIN + _CONTAINERS):
                    state[f"{name}.{variable}"] = repr(value)
    return state


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Variables that differ. New ones are not state: a module was imported in between."""
    return [name for name, value in before.items() if after.get(name) != value]
