"""Comparing by digests: exactly what differs is found, in bounded steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance_pfsync.native import digest as module
from appliance_pfsync.native.digest import bits_for, bounds, choose, contains, digest, members, missing
from appliance_pfsync.native.effects import Hashes

HASHES = st.sets(st.integers(0, 2**64 - 1), max_size=200).map(lambda found: np.array(sorted(found), np.uint64))


def spread(count: int, seed: int = 1) -> Hashes:
    return np.unique(np.random.default_rng(seed).integers(0, 2**64 - 1, count, np.uint64))


@given(HASHES, HASHES, st.integers(1, 8))
def test_the_buckets_that_differ_hold_every_difference(one: Hashes, other: Hashes, bits: int) -> None:
    choice = choose(digest(one, bits), digest(other, bits), start=0, limit=10_000)
    mine, theirs = members(one, bits, choice.buckets), members(other, bits, choice.buckets)
    assert choice.complete
    assert set(missing(mine, theirs).tolist()) == set(other.tolist()) - set(one.tolist())
    assert set(missing(theirs, mine).tolist()) == set(one.tolist()) - set(other.tolist())


@given(HASHES, st.integers(1, 8))
def test_every_hash_is_in_the_bucket_of_its_highest_bits(hashes: Hashes, bits: int) -> None:
    at = bounds(hashes, bits)
    for bucket in range(1 << bits):
        assert all(one >> (64 - bits) == bucket for one in hashes[at[bucket] : at[bucket + 1]].tolist())
    assert digest(hashes, bits)["count"].sum() == len(hashes)
    assert sum(digest(hashes, bits)["sum"].tolist()) % 2**64 == sum(hashes.tolist()) % 2**64


def test_a_round_takes_what_fits_and_the_next_one_goes_on() -> None:
    own, other = digest(spread(0), 8), digest(spread(10_000), 8)
    start, looked_at = 0, set[int]()
    for _ in range(12):
        choice = choose(own, other, start=start, limit=1000)
        assert 0 < other["count"][choice.buckets].sum() <= 1000
        looked_at |= set(choice.buckets.tolist())
        start = int(choice.buckets[-1]) + 1
    assert looked_at == set(range(256))
    assert not choice.complete


def test_one_bucket_beyond_the_limit_is_looked_at_all_the_same() -> None:
    choice = choose(digest(spread(0), 1), digest(spread(1000), 1), start=0, limit=10)
    assert (len(choice.buckets), choice.complete) == (1, False)


def test_equal_tables_differ_nowhere() -> None:
    choice = choose(digest(spread(500), 5), digest(spread(500), 5), start=7, limit=10)
    assert (len(choice.buckets), choice.complete) == (0, True)
    assert len(members(spread(500), 5, choice.buckets)) == 0


@pytest.mark.parametrize(("count", "bits"), [(0, 3), (1000, 6), (100_000, 13), (10_000_000, 14)])
def test_buckets_are_small_and_not_too_many(count: int, bits: int) -> None:
    assert bits_for(count) == bits
    assert 1 << bits_for(count) <= 1 << module.BITS_MAX


def test_nothing_contains_nothing() -> None:
    nothing = spread(0)
    assert contains(nothing, spread(3)).tolist() == [False] * 3
    assert len(missing(spread(3), nothing)) == 0
