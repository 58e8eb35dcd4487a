"""Laboratories of plain routers: they test the lab itself, and need no node software."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance.lab import Lab, Software, Topology
from appliance.lab.lab import unique_name


@pytest.fixture(scope="module")
def built() -> Iterator[Lab]:
    """One lab for the tests of a module."""
    with Lab(Topology(name=unique_name("t")), software=Software.ROUTER) as lab:
        yield lab


@pytest.fixture
def lab(built: Lab) -> Iterator[Lab]:
    """The module's lab, without faults before and after."""
    yield built
    built.undo_all()
