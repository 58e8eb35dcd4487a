"""The node's ruleset in a real kernel: every scenario of `scenarios` in a namespace and a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.netns.host.scenarios import SCENARIOS

pytestmark = pytest.mark.netns


@pytest.mark.parametrize("name", [each.__name__ for each in SCENARIOS])
def test_the_ruleset_of_a_node(name: str) -> None:
    done = subprocess.run(
        ["unshare", "-n", sys.executable, "-m", "tests.netns.host.scenarios", name],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
