"""A network namespace per test, and a way to run things inside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

import pytest

T = TypeVar("T")


class Inside(Protocol):
    """``inside(function)`` calls it in the test's namespace; `fd` is that namespace."""

    fd: int

    def __call__(self, function: Callable[[], T]) -> T: ...


@pytest.fixture
def inside() -> Iterator[Inside]:
    from appliance.net.namespace import in_namespace, new_namespace

    class Namespace:
        fd = new_namespace()

        def __call__(self, function: Callable[[], T]) -> T:
            return in_namespace(self.fd, function)

    namespace = Namespace()
    yield namespace
    os.close(namespace.fd)
