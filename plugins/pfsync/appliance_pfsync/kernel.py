"""The kernel's table as the replicator uses it: events out, states in. There is no other copy of a state.

Everything here is a synchronous call of bounded length; whoever calls waits for readability before.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from appliance.net.conntrack import Asker, Dump, EventSocket, Group, Injector
from appliance_pfsync import encode
from appliance_pfsync.decode import Decoder
from appliance_pfsync.filters import coalesce
from appliance_pfsync.flow import Flows, Op, key_hashes
from appliance_pfsync.merge import newer

EVENT_BYTES = 64 << 20
"""Room for about a second of events at the highest rate that a node forwards."""
DRAIN_MAX = 1024
"""Events taken at once: about one millisecond of work."""
INJECT_MAX = 256
"""Messages per system call: the kernel puts them into its table before the call returns, about 1 ms."""
DUMP_BYTES = 128 << 10
"""Part of a dump that is read at once: about 500 states."""
STANDBY_EXTRA_S = 5
"""A copy lives this much longer than the original, so that the owner's DELETE comes first."""


@dataclass(slots=True)
class TableCounters:
    """What happened to states that came from peers."""

    created: int = 0
    updated: int = 0
    deleted: int = 0
    clashed: int = 0
    """Another state was in the way and has been replaced."""
    table_full: int = 0
    failed: int = 0


@dataclass(slots=True)
class KernelTable:
    """Sockets and codecs of one node's connection-tracking table."""

    counters: TableCounters = field(default_factory=TableCounters)
    decoder: Decoder = field(default_factory=Decoder)
    injector: Injector = field(default_factory=Injector)
    asker: Asker = field(default_factory=Asker)
    events: EventSocket = field(init=False)

    def __post_init__(self) -> None:
        self.open_events()

    def open_events(self) -> None:
        """Subscribe; what this process injects does not come back."""
        self.events = EventSocket(
            (Group.NEW, Group.UPDATE, Group.DESTROY),
            receive_buffer=EVENT_BYTES,
            ignore_ports={self.injector.port},
            hide_unfinished_tcp=True,  # see `filters.exportable`
        )

    def close(self) -> None:
        """Close every socket."""
        for each in (self.events, self.injector, self.asker):
            each.close()

    # --- out -----------------------------------------------------------------------------------------------

    def dump(self) -> Iterator[tuple[Flows, Flows]]:
        """The table in parts, IPv4 and IPv6, as INSERT records. The caller takes a breath between two parts."""
        with Dump() as dump:
            while part := dump.read(DUMP_BYTES):
                batch = self.decoder.decode(part, dump=True)
                yield batch.flows4, batch.flows6

    def lookup(self, flows: Flows) -> Flows:
        """This node's copies of these flows, as UPDATE records; those it does not have are left out."""
        found = [flows[:0]]
        for start in range(0, len(flows), INJECT_MAX):
            part = flows[start : start + INJECT_MAX]
            batch = self.decoder.decode(self.asker.ask(encode.encode_get(part, 0), len(part)), dump=True)
            found.append(batch.flows4 if flows.dtype == batch.flows4.dtype else batch.flows6)
        result = np.concatenate(found, dtype=flows.dtype)  # else numpy answers in host byte order
        result["op"] = Op.UPDATE
        return result

    # --- in ------------------------------------------------------------------------------------------------

    def apply(self, flows: Flows, *, extra_s: int, is_snapshot: bool = False) -> None:
        """Put what a peer says into the kernel, at once.

        Args:
            flows: In the order in which they came.
            extra_s: Added to every timeout (`STANDBY_EXTRA_S` on a standby).
            is_snapshot: They describe some earlier moment (a bulk update, an audit): a copy of our own that
                is further along stays.
        """
        latest = coalesce(flows)
        for start in range(0, len(latest), INJECT_MAX):
            self._apply(latest[start : start + INJECT_MAX], extra_s, is_snapshot)

    def _apply(self, flows: Flows, extra_s: int, is_snapshot: bool) -> None:
        gone = flows[flows["op"] == Op.DELETE]
        if len(gone):
            refused = self.injector.send(encode.encode_delete(gone, 0), len(gone))
            self.counters.deleted += len(gone) - len(refused)
        clash = [self._create(flows[flows["op"] == Op.INSERT], extra_s, is_snapshot)]
        clash.append(self._update(flows[flows["op"] == Op.UPDATE], extra_s))
        self._replace(np.concatenate(clash, dtype=flows.dtype), extra_s)

    def _create(self, flows: Flows, extra_s: int, is_snapshot: bool) -> Flows:
        """Create; those that exist are updated; those in whose way another state is are returned."""
        taken = self._try_create(flows, extra_s)
        if not len(taken):
            return taken
        own, is_known = self._partners(taken)
        known = taken[is_known]
        if is_snapshot and len(known):
            known = known[newer(own, known)]
        gone = self._try_update(known, extra_s)  # it ended since it was looked up
        return np.concatenate([taken[~is_known], gone], dtype=flows.dtype)

    def _update(self, flows: Flows, extra_s: int) -> Flows:
        """Update; those that do not exist are created; what exists as something else is returned."""
        return self._try_create(self._try_update(flows, extra_s), extra_s)

    def _try_create(self, flows: Flows, extra_s: int) -> Flows:
        if not len(flows):
            return flows
        errors = self.injector.send(encode.encode_create(flows, 0, extra_timeout=extra_s), len(flows))
        self.counters.created += len(flows) - len(errors)
        return self._with_error(flows, errors, errno.EEXIST)

    def _try_update(self, flows: Flows, extra_s: int) -> Flows:
        if not len(flows):
            return flows
        errors = self.injector.send(encode.encode_update(flows, 0, extra_timeout=extra_s), len(flows))
        self.counters.updated += len(flows) - len(errors)
        return self._with_error(flows, errors, errno.ENOENT)

    def _replace(self, flows: Flows, extra_s: int) -> None:
        """Another state has the original or the reply tuple of these: it goes, they come."""
        if not len(flows):
            return
        self.counters.clashed += len(flows)
        self.injector.send(encode.encode_delete(flows, 0), len(flows))
        self.injector.send(encode.encode_delete(flows, 0, by_reply=True), len(flows))
        self.counters.failed += len(self._try_create(flows, extra_s))

    def _partners(self, flows: Flows) -> tuple[Flows, npt.NDArray[np.bool_]]:
        """This node's copies of flows that exist with both tuples, in their order, and which rows those are."""
        own, wanted = self.lookup(flows), key_hashes(flows)
        if not len(own):
            return own, np.zeros(len(flows), np.bool_)
        mine = key_hashes(own)
        order = np.argsort(mine)
        at = order[np.minimum(np.searchsorted(mine, wanted, sorter=order), len(mine) - 1)]
        is_known = mine[at] == wanted
        return own[at[is_known]], is_known

    def _with_error(self, flows: Flows, errors: list[tuple[int, int]], expected: int) -> Flows:
        """The rows that failed with the expected error; all others are counted."""
        rows = [index for index, code in errors if code == expected]
        full = sum(code in (errno.ENOMEM, errno.ENFILE, errno.ENOSPC) for _, code in errors)
        self.counters.table_full += full
        self.counters.failed += len(errors) - len(rows) - full
        return flows[rows]
