"""Killed at any moment of a synchronization, either side: never half of a configuration, and equal at the end."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import pytest

from appliance.errors import ApplianceError
from tests.unit.plugins.xmlrpc_sync.killing import Nodes, two_nodes, wait_until

pytestmark = pytest.mark.slow

POINTS = 30
"""Seeded moments for each victim."""
RULES = 40
AFTER = 1.3
"""Moments up to this multiple of the time that it takes: some come when all is done."""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Two processes that are paired and in sync."""
    with two_nodes(tmp_path_factory.mktemp("nodes")) as made:
        wait_until(lambda: made.push()["state"] == "in-sync", "they are in sync")
        yield made


def commit_and_push(nodes: Nodes) -> None:
    """All of it, from the operator's reload to the peer's digest."""
    with suppress(ApplianceError, OSError):  # the node that is asked may be the one that is killed
        nodes.one("fw1", "config", "reload")
        nodes.push()


def duration_s(nodes: Nodes, *items: str) -> float:
    nodes.write(*items)
    begun = time.monotonic()
    commit_and_push(nodes)
    return time.monotonic() - begun


@pytest.mark.parametrize("victim", ["fw1", "fw2"])
def test_killed_at_any_moment_nothing_is_half_and_both_end_equal(nodes: Nodes, victim: str) -> None:
    dice = random.Random(f"kill {victim}")
    takes_s = max(duration_s(nodes, f"warm {number}") for number in range(3))
    met: Counter[str] = Counter()
    for point in range(POINTS):
        old, new = nodes.file("fw2"), tuple(f"{victim}-{point}-{number}" for number in range(RULES))
        nodes.write(*new)
        moment = dice.uniform(0.0, AFTER * takes_s) if point else 0.0
        work = threading.Thread(target=commit_and_push, args=(nodes,))
        work.start()
        if point == POINTS - 1:
            work.join()
        else:
            time.sleep(moment)
        nodes.kill(victim)
        found = nodes.file("fw2")
        assert found in (old, new), f"{moment:.3f} s after the reload began"
        met["new" if found == new else "old"] += 1
        if victim == "fw1":
            assert nodes.in_force("fw2") in (old, new)
        nodes.start(victim)
        work.join()
        wait_until(lambda: nodes.push()["state"] == "in-sync", "they are in sync again")
        assert nodes.file("fw1") == nodes.file("fw2") == nodes.in_force("fw2") == new
    print(f"{victim} killed {POINTS} times within {AFTER * takes_s * 1000:.0f} ms: then fw2 had {dict(met)}")
    assert set(met) == {"old", "new"}, "the first moment is before all of it, the last one after it"
