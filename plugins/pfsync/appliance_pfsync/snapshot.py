"""The table at one moment, for the audit: every replicated flow by its hash, and which have seen traffic since."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from appliance_pfsync.flow import FLOW4, FLOW6, TCP, Flows, Op, key_hashes

Hashes = npt.NDArray[np.uint64]
LONG_S = 3600
"""Timeouts above this are days, and need no refreshing from audit to audit."""
ROUNDING_S = 2
"""The kernel counts whole seconds, and reading a large table takes a while."""


@dataclass(frozen=True, slots=True)
class _Family:
    flows: Flows
    hashes: Hashes
    order: npt.NDArray[np.intp]

    @classmethod
    def of(cls, parts: list[Flows], dtype: np.dtype[np.void]) -> _Family:
        flows = np.concatenate([np.zeros(0, dtype), *parts], dtype=dtype)
        hashes = key_hashes(flows)
        return cls(flows, hashes, np.argsort(hashes))

    def find(self, hashes: Hashes) -> npt.NDArray[np.intp]:
        """Rows of these hashes; those that are not here are left out."""
        if not len(self.hashes):
            return np.zeros(0, np.intp)
        ordered = self.hashes[self.order]
        at = np.minimum(np.searchsorted(ordered, hashes), len(ordered) - 1)
        rows: npt.NDArray[np.intp] = self.order[at[ordered[at] == hashes]]
        return rows


class Snapshot:
    """Every replicated flow at `taken_at` (monotonic seconds)."""

    def __init__(self, parts4: list[Flows], parts6: list[Flows], taken_at: float) -> None:
        self._families = (_Family.of(parts4, FLOW4), _Family.of(parts6, FLOW6))
        self.taken_at = taken_at

    def __len__(self) -> int:
        return sum(len(family.flows) for family in self._families)

    @property
    def hashes(self) -> Hashes:
        """All of them, sorted."""
        return np.sort(np.concatenate([family.hashes for family in self._families]))

    def pick(self, hashes: Hashes, op: Op) -> tuple[Flows, Flows]:
        """The flows of these hashes, IPv4 and IPv6, as records of this kind."""
        picked = []
        for family in self._families:
            flows = family.flows[family.find(hashes)]
            flows["op"] = op
            picked.append(flows)
        return picked[0], picked[1]

    def refreshed_since(self, before: Snapshot) -> tuple[Flows, Flows]:
        """Flows whose timeout did not run down since, as UPDATE records: they carry traffic, so their copies must
        not run down either.

        The kernel reports no event when a packet renews a timeout, and a copy sees no packets.
        """
        elapsed = self.taken_at - before.taken_at
        renewed = []
        for family, old in zip(self._families, before._families, strict=True):
            flows = family.flows[_renewed(family, old, elapsed)]
            flows["op"] = Op.UPDATE
            renewed.append(flows)
        return renewed[0], renewed[1]


def _renewed(family: _Family, old: _Family, elapsed: float) -> npt.NDArray[np.intp]:
    ours, theirs = family.hashes[family.order], old.hashes[old.order]
    if not len(ours) or not len(theirs):
        return np.zeros(0, np.intp)
    at = np.minimum(np.searchsorted(theirs, ours), len(theirs) - 1)
    known = theirs[at] == ours
    rows, old_rows = family.order[known], old.order[at[known]]
    now = family.flows["timeout"][rows].astype(np.int64)
    then = old.flows["timeout"][old_rows].astype(np.int64)
    is_long = (family.flows["proto"][rows] == TCP) & (now > LONG_S)
    renewed: npt.NDArray[np.intp] = rows[(now > then - int(elapsed) + ROUNDING_S) & ~is_long]
    return renewed
