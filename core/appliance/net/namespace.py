"""Network namespaces: make them, and run a function inside one.

The network namespace belongs to a thread. A thread that changed it must not go back into a pool, so
everything here happens in a thread of its own that is joined before the call returns.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from appliance.net.fastpath import system_error

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000


def _check(result: int, what: str) -> None:
    if result != 0:
        raise system_error(ctypes.get_errno(), what)


def _libc() -> ctypes.CDLL:
    # os.setns and os.unshare came with Python 3.12 only.
    return ctypes.CDLL(None, use_errno=True)


def in_namespace(namespace: int | str | Path, function: Callable[[], T]) -> T:
    """Call a function inside a network namespace; what it opens there keeps belonging to it.

    Args:
        namespace: An open descriptor of the namespace, or its path (``/run/netns/x``).
        function: Called without arguments; its result or exception is passed on.
    """
    if isinstance(namespace, int):
        return _in_fresh_thread(lambda: _enter(namespace, function))
    fd = _open(namespace)
    try:
        return _in_fresh_thread(lambda: _enter(fd, function))
    finally:
        os.close(fd)


def new_namespace() -> int:
    """A new anonymous network namespace, as a descriptor: it lives as long as something refers to it."""

    def make() -> int:
        _check(_libc().unshare(_CLONE_NEWNET), "cannot create a network namespace")
        return _open("/proc/thread-self/ns/net")

    return _in_fresh_thread(make)


def current_namespace() -> int:
    """A descriptor of the calling thread's network namespace."""
    return _open("/proc/thread-self/ns/net")


def _open(path: str | Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise system_error(error.errno or 0, f"cannot open the network namespace {path}") from error


def _enter(fd: int, function: Callable[[], T]) -> T:
    _check(_libc().setns(fd, _CLONE_NEWNET), "cannot enter the network namespace")
    return function()


def _in_fresh_thread(function: Callable[[], T]) -> T:
    results: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the calling thread
            failures.append(error)

    thread = threading.Thread(target=run, name="in-namespace")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]
