"""What was last said live about the flows of late: that they exist, or that they ended, and when.

A bulk update and an audit describe some earlier moment, and a partition makes two nodes know different things.
Whoever lacks a flow has to know whether it never heard of it or heard that it ended; whoever has it, whether it
heard of it later than that. Both tell ages and not times, so that no two clocks are compared; the last word wins.

The memory is two generations of at most `GENERATION_MAX` flows: the older one is forgotten when the younger one
is full or old. Until `horizon_s` ago it is complete; about everything older it knows nothing.
"""

from __future__ import annotations

import math
from itertools import repeat

import numpy as np
import numpy.typing as npt

from appliance_pfsync.flow import FLOW4, FLOW6, Op, key_hashes
from appliance_pfsync.native.effects import Hashes

Ages = npt.NDArray[np.float64]
"""Seconds; infinite where nothing is remembered."""

GENERATION_MAX = 1 << 17
"""Some 13 MB when full."""
GENERATION_S = 120.0
BATCH = 2048
"""Records that are hashed together: 0.04 µs each instead of 1.4."""
TOUCHED_MAX = 1 << 17
_DTYPES = {dtype.itemsize: dtype for dtype in (FLOW4, FLOW6)}


class Memory:
    """Last words. All times are monotonic seconds."""

    def __init__(self) -> None:
        self.is_owner = True
        """This node carries the traffic. Where nothing is remembered because a process is new, the owner's kernel
        is right: an owner takes no flow back that it saw ending, and gives up none that it has."""
        self._young: dict[int, float] = {}
        """Hash of the flow → time of the last word, negative if it was that the flow ended."""
        self._old: dict[int, float] = {}
        self._zero = math.nan
        """A second before the first word, so that times are positive."""
        self._young_since = self._old_since = 0.0
        self._cleared = 0.0
        self._pending: dict[int, list[tuple[bytes, float]]] = {size: [] for size in _DTYPES}
        self._count = 0
        self._touched: dict[int, float] = {}
        self._is_recording = False

    def begin(self, now: float) -> None:
        """The first moment that is remembered."""
        self._zero = now - 1.0
        self._young_since = self._old_since = 1.0

    # --- learning ------------------------------------------------------------------------------------------

    def note(self, raw: bytes, size: int, now: float, *, own: bool) -> None:
        """Remember what live records say.

        Args:
            raw: The records' bytes.
            size: Bytes of one record.
            now: When.
            own: This node says it, to all its peers.
        """
        at = now - self._zero
        if own and self._is_recording and len(self._touched) < TOUCHED_MAX:
            hashes = key_hashes(np.frombuffer(raw, _DTYPES[size])).tolist()
            self._touched.update(zip(hashes, repeat(at)))
        self._pending[size].append((raw, at))
        self._count += len(raw) // size
        if self._count >= BATCH:
            self._digest()

    def note_ended(self, hashes: Hashes, now: float) -> None:
        """Remember that these have ended."""
        self._digest()
        self._young.update(dict.fromkeys(hashes.tolist(), self._zero - now))

    def note_cleared(self, now: float) -> None:
        """Remember that every flow has ended."""
        self._digest()
        self._cleared = now - self._zero

    def tidy(self, now: float) -> None:
        """Forget what is old; call it about once a second."""
        self._digest()
        at = now - self._zero
        if len(self._young) >= GENERATION_MAX or at - self._young_since >= GENERATION_S:
            self._old, self._old_since = self._young, self._young_since
            self._young, self._young_since = {}, at

    def _digest(self) -> None:
        if not self._count:
            return
        self._count = 0
        for size, pending in self._pending.items():
            if not pending:
                continue
            flows = np.frombuffer(b"".join([raw for raw, _ in pending]), _DTYPES[size])
            times = np.repeat([at for _, at in pending], [len(raw) // size for raw, _ in pending])
            pending.clear()
            ops = flows["op"]
            is_word = ops != Op.REQUEST
            words = np.where(ops == Op.DELETE, -times, times)[is_word]
            self._young.update(zip(key_hashes(flows)[is_word].tolist(), words.tolist(), strict=True))
        if len(self._young) >= GENERATION_MAX:
            self._old, self._old_since = self._young, self._young_since
            self._young, self._young_since = {}, float(times[-1])

    # --- telling -------------------------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """Nothing is remembered."""
        return not (self._young or self._old or self._count or self._cleared)

    def horizon_s(self, now: float) -> float:
        """How far back it is complete."""
        return now - self._zero - self._old_since

    def ended_ago(self, hashes: Hashes, now: float) -> Ages:
        """How long ago the last word about these flows was that they ended; infinite if it was not."""
        words = self._words(hashes)
        ages: Ages = np.where(words < 0, now - self._zero + words, np.inf)
        return ages

    def begun_ago(self, hashes: Hashes, now: float) -> Ages:
        """How long ago the last word about these flows was that they exist; infinite if it was not."""
        words = self._words(hashes)
        ages: Ages = np.where(words > 0, now - self._zero - words, np.inf)
        return ages

    def _words(self, hashes: Hashes) -> npt.NDArray[np.float64]:
        self._digest()
        young, old = self._young.get, self._old.get
        words = np.fromiter((young(one) or old(one, 0.0) for one in hashes.tolist()), np.float64, len(hashes))
        if self._cleared > self._old_since:
            words[np.abs(words) < self._cleared] = -self._cleared
        return words

    # --- bulk updates under way ----------------------------------------------------------------------------

    def record(self, on: bool) -> None:
        """Whether to remember exactly what this node says live, for `touched_since`."""
        if not on:
            self._touched.clear()
        self._is_recording = on

    def touched_since(self, hashes: Hashes, since: float) -> npt.NDArray[np.bool_]:
        """Which of these this node has spoken of, or heard the end of, since then: a record read before is stale.

        Beyond `TOUCHED_MAX` flows it forgets none and learns no more; the receiver's merge then decides.
        """
        at = since - self._zero
        touched = self._touched.get
        said = np.fromiter((touched(one, 0.0) >= at for one in hashes.tolist()), np.bool_, len(hashes))
        stale: npt.NDArray[np.bool_] = said | (self._words(hashes) <= -at)
        return stale
