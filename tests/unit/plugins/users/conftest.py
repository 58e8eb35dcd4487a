"""Two nodes that talk over the loopback, with the real table of users."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from appliance_users.plugin import Users
from tests.unit.plugins.xmlrpc_sync import nodes


@pytest.fixture
def pair(appliance_nodes: list[object], tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[nodes.Pair]]:
    """`nodes.pair` in the folder of the test."""
    return functools.partial(nodes.pair, tmp_path, users=Users)
