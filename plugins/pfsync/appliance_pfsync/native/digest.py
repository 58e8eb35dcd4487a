"""Comparing two tables by their hashes without sending them: sums of buckets, then the lists of those that differ.

Hashes are spread evenly, so the highest `bits` of a hash are its bucket. A bucket is told by its count and by the
sum of its hashes modulo 2^64. Hashes are sorted and unique everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from appliance_pfsync.native.effects import Hashes

BITS_MIN, BITS_MAX = 3, 14
BUCKET_SIZE = 24
"""Hashes in a bucket: one that differs costs 200 bytes, and comparing costs half a byte a flow."""
BUCKET = np.dtype([("count", ">u4"), ("sum", ">u8")])
Buckets = npt.NDArray[np.intp]


def bits_for(count: int) -> int:
    """How many bits name a bucket in a table of this size."""
    return min(max((count // BUCKET_SIZE).bit_length(), BITS_MIN), BITS_MAX)


def bounds(hashes: Hashes, bits: int) -> npt.NDArray[np.intp]:
    """Where each bucket begins, and the end: 2^bits + 1 places."""
    starts = np.arange(1 << bits, dtype=np.uint64) << np.uint64(64 - bits)
    return np.append(np.searchsorted(hashes, starts), len(hashes))


def digest(hashes: Hashes, bits: int) -> npt.NDArray[np.void]:
    """Count and sum of every bucket, as `BUCKET`."""
    at = bounds(hashes, bits)
    sums = np.zeros(len(hashes) + 1, np.uint64)
    np.cumsum(hashes, out=sums[1:])
    result = np.zeros(1 << bits, BUCKET)
    result["count"] = np.diff(at)
    result["sum"] = np.diff(sums[at])
    return result


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """Which buckets are looked at in a round."""

    buckets: Buckets
    complete: bool
    """These are all that differ."""


def choose(own: npt.NDArray[np.void], other: npt.NDArray[np.void], *, start: int, limit: int) -> Choice:
    """The buckets that differ, from `start` on and around, until their hashes are more than `limit`.

    At least one is chosen if any differs, so that rounds with rising starts get everywhere.
    """
    differing = np.flatnonzero(own != other)
    turn = int(np.searchsorted(differing, start))
    ordered = np.roll(differing, -turn)
    sizes = np.maximum(own["count"], other["count"])[ordered].astype(np.int64)
    fits = np.cumsum(sizes) <= limit
    fits[:1] = True
    chosen = ordered[fits]
    return Choice(chosen, len(chosen) == len(differing))


def members(hashes: Hashes, bits: int, buckets: Buckets) -> Hashes:
    """The hashes in these buckets, sorted."""
    if not len(buckets):
        return hashes[:0]
    at = bounds(hashes, bits)
    return np.concatenate([hashes[at[one] : at[one + 1]] for one in np.sort(buckets).tolist()])


def missing(own: Hashes, other: Hashes) -> Hashes:
    """The hashes of the other side that are not here."""
    return other[~contains(own, other)]


def contains(own: Hashes, wanted: Hashes) -> npt.NDArray[np.bool_]:
    """Which of the wanted ones are here."""
    if not len(own):
        return np.zeros(len(wanted), np.bool_)
    at = np.minimum(np.searchsorted(own, wanted), len(own) - 1)
    found: npt.NDArray[np.bool_] = own[at] == wanted
    return found
