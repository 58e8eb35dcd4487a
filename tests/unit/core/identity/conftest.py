"""A process that can be killed between any two changes of the disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from appliance.identity import files

CHANGES = {"open", "write", "fsync", "rename", "unlink"}


class Killed(BaseException):
    """The process is gone: nothing that follows runs, except what Python itself does."""


class MortalOs:
    """The operating system, which kills at the n-th call that may change something."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.done: list[str] = []

    def __getattr__(self, name: str) -> Any:
        found = getattr(os, name)
        if name not in CHANGES:
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            if len(self.done) >= self.steps:
                raise Killed
            self.done.append(name)
            return found(*args, **kwargs)

        return call


RunUntil = Callable[[int, Callable[[], object]], tuple[bool, list[str]]]


@pytest.fixture
def run_until(monkeypatch: pytest.MonkeyPatch) -> RunUntil:
    """Does some work with at most that many steps: whether it was killed, and the steps it did."""

    def run(steps: int, work: Callable[[], object]) -> tuple[bool, list[str]]:
        mortal = MortalOs(steps)
        with monkeypatch.context() as patched:
            patched.setattr(files, "os", mortal)
            try:
                work()
            except Killed:
                return True, mortal.done
        return False, mortal.done

    return run
