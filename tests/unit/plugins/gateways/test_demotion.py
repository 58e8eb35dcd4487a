"""A dead path demotes only while somebody could do better, and two nodes never take turns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance_gateways.demotion import demotions


def test_a_dead_gateway_demotes_while_a_peer_is_demoted_less() -> None:
    assert demotions({"wan": 100}, (), {"fw2": 0}) == {"wan"}
    assert demotions({"wan": 100}, (), {"fw2": 99, "fw3": 240}) == {"wan"}
    assert demotions({"wan": 100}, (), {"fw2": 100}) == frozenset()


def test_nobody_is_demoted_without_a_live_peer_or_without_a_weight() -> None:
    assert demotions({"wan": 100}, ("wan",), {}) == frozenset()
    assert demotions({"wan": 0}, (), {"fw2": 0}) == frozenset()


def test_once_held_it_stays_until_the_gateway_is_up() -> None:
    assert demotions({"wan": 100}, ("wan",), {"fw2": 240}) == {"wan"}
    assert demotions({}, ("wan",), {"fw2": 240}) == frozenset()


@given(st.lists(st.integers(0, 1), min_size=1, max_size=30), st.integers(1, 240), st.integers(1, 240))
def test_with_both_paths_dead_the_demotions_settle_and_never_change_again(
    turns: list[int], weight0: int, weight1: int
) -> None:
    """Two nodes look in any order; each sees what the other had decided before."""
    weights = (weight0, weight1)
    held: list[frozenset[str]] = [frozenset(), frozenset()]
    changes = 0
    for turn in turns:
        seen = sum(weights[1 - turn] for _ in held[1 - turn])
        now = demotions({"wan": weights[turn]}, held[turn], {"other": seen})
        changes += now != held[turn]
        held[turn] = now
    assert changes <= 2, "each node is demoted once at most"
