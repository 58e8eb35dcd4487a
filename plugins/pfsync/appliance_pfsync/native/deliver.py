"""What the datagrams of a peer mean, in the order of its stream."""

from __future__ import annotations

import struct
from collections import Counter

import numpy as np

from appliance_pfsync.flow import Flows, key_hashes
from appliance_pfsync.native.audit import Auditor
from appliance_pfsync.native.bulk import Feed
from appliance_pfsync.native.effects import BulkWanted, Cleared, Effect, FlowsLost, FlowsReceived
from appliance_pfsync.native.header import AGE_BYTES, BULK_KINDS, DTYPES, INNER, NEVER, REPAIR, Kind, Malformed
from appliance_pfsync.native.memory import Ages, Memory
from appliance_pfsync.native.peer import Peer
from appliance_pfsync.native.receiving import GAP, Frame

REQUEST = struct.Struct("!I")
"""BULK_REQUEST and BULK_START: the number of the request."""
END = struct.Struct("!II")
"""BULK_END: the number of the request, and how many records have been sent."""


def pack_ages(ages: Ages) -> bytes:
    """How bulk kinds carry ages."""
    milliseconds = np.minimum(ages * 1000, NEVER)
    return milliseconds.astype(">u4").tobytes()


class Courier:
    """Turns frames into effects."""

    def __init__(self, memory: Memory, auditor: Auditor, counters: Counter[str]) -> None:
        self._memory = memory
        self._auditor = auditor
        self._counters = counters

    def deliver(self, peer: Peer, frame: Frame, now: float) -> list[Effect]:
        """Act on one frame; nonsense is counted and passed over."""
        kind = frame.kind
        try:
            dtype = DTYPES.get(kind)
            if dtype is not None:
                flows = self._flows(frame, dtype)
                if kind in BULK_KINDS:
                    flows = self._bulk(peer, frame, flows, now)
                else:
                    self._memory.note(frame.inner[INNER.size :], dtype.itemsize, now, own=False)
                if len(flows):
                    peer.delivered(frame, now, to_kernel=True)
                    return [FlowsReceived(peer.name, flows, kind in BULK_KINDS, peer.base + frame.number)]
                effects: list[Effect] = []
            else:
                effects = self._message(peer, frame, now)
        except Malformed as malformed:
            self._counters[malformed.reason] += 1
            effects = []
        peer.delivered(frame, now, to_kernel=False)
        return effects

    # --- records -------------------------------------------------------------------------------------------

    def _flows(self, frame: Frame, dtype: np.dtype[np.void]) -> Flows:
        size = dtype.itemsize + (AGE_BYTES if frame.kind in BULK_KINDS else 0)
        if len(frame.inner) != INNER.size + frame.records * size:
            raise Malformed("malformed")
        return np.frombuffer(frame.inner, dtype, frame.records, INNER.size)

    def _bulk(self, peer: Peer, frame: Frame, flows: Flows, now: float) -> Flows:
        """Those that have not ended since the peer last heard of them."""
        if not frame.flags & REPAIR:
            peer.fetch.arrived(len(flows), now)
        if self._memory.is_empty:
            return flows
        ended = self._memory.ended_ago(key_hashes(flows), now)
        if not np.isfinite(ended).any():
            return flows
        raw = np.frombuffer(frame.inner, ">u4", len(flows), INNER.size + flows.nbytes)
        unknown = np.inf if self._memory.is_owner else 0.0  # the peer's process may be younger than the flow
        begun = np.where(raw == NEVER, unknown, raw / 1000)
        alive = np.isinf(ended) | (begun < ended)
        self._counters["outlived"] += int((~alive).sum())
        return flows[alive]

    # --- messages ------------------------------------------------------------------------------------------

    def _message(self, peer: Peer, frame: Frame, now: float) -> list[Effect]:
        kind, payload = frame.kind, frame.inner[INNER.size :]
        if kind == GAP:
            return self._gap(peer, frame.records, now)
        if Kind.AUDIT_OPEN <= kind <= Kind.AUDIT_PLEASE:
            return self._auditor.take(peer, kind, frame.flags, payload, now)
        if kind == Kind.CLEAR:
            self._memory.note_cleared(now)
            return [Cleared(peer.name)]
        if kind == Kind.LOST:
            peer.losses += 1
            self._auditor.soon(now, twice=True)
            return []
        if kind == Kind.BULK_REQUEST:
            return self._feed(peer, _unpack(REQUEST, payload)[0], now)
        if kind == Kind.BULK_START:
            peer.fetch.started(_unpack(REQUEST, payload)[0], now)
        elif kind == Kind.BULK_END:
            peer.fetch.ended(peer.name, _unpack(END, payload)[0], now)
        else:
            raise Malformed("malformed")
        return []

    def _gap(self, peer: Peer, datagrams: int, now: float) -> list[Effect]:
        peer.losses += 1
        peer.counters["lost"] += datagrams
        peer.fetch.lost(now)
        self._auditor.forget(peer.name)
        self._auditor.soon(now, twice=True)
        return [FlowsLost(peer.name, f"{datagrams} datagrams did not arrive and can not be repeated")]

    def _feed(self, peer: Peer, request: int, now: float) -> list[Effect]:
        if peer.feed is not None and peer.feed.request == request:
            return []
        peer.feed = Feed(request, now)
        self._memory.record(True)
        peer.send(Kind.BULK_START, REQUEST.pack(request))
        return [BulkWanted(peer.name)]


def _unpack(shape: struct.Struct, payload: bytes) -> tuple[int, ...]:
    if len(payload) != shape.size:
        raise Malformed("malformed")
    return shape.unpack(payload)
