"""Two nodes that talk over the loopback, for every test that wants them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.unit.plugins.xmlrpc_sync import nodes


@pytest.fixture
def pair(appliance_nodes: list[object], tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[nodes.Pair]]:
    """`nodes.pair` in the folder of the test; started again there, the nodes know what they knew."""
    return functools.partial(nodes.pair, tmp_path)
