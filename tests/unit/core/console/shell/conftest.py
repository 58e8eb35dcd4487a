"""One node for all tests of clients."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.core.console.shell.people import live_node


@pytest.fixture(scope="module")
def socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The control socket of a node that runs."""
    folder: Path = tmp_path_factory.mktemp("node")
    with live_node(folder):
        yield str(folder / "s")
