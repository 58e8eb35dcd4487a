"""What the scenarios share: every test begins and ends with fw1 as MASTER, without faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from appliance.lab import Lab
from tests.netns.rules.takeovers import NODES, settled

Scene = Callable[[Lab], AbstractContextManager[Lab]]


@pytest.fixture
def scene() -> Scene:
    """Wraps a module's lab for one test."""

    @contextmanager
    def undisturbed(lab: Lab) -> Iterator[Lab]:
        settled(lab)
        yield lab
        for node in NODES:  # a test that failed has left it as it was
            if not lab.has_power(node):
                lab.power_on(node)
        lab.undo_all()

    return undisturbed
