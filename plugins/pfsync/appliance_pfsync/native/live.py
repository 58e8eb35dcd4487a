"""Live records on their way into datagrams: small offers share one until it is full or has to go."""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance_pfsync.flow import FLOW4, FLOW6, Flows
from appliance_pfsync.native.header import ACK_WANTED, Kind
from appliance_pfsync.native.sending import Item

HELD_BYTES = 64 << 10
"""Offers are packed at the latest when they are this large together."""


@dataclass(slots=True)
class _Open:
    kind: Kind
    parts: list[bytes] = field(default_factory=list)
    size: int = 0


class Packer:
    """Collects what is offered. The order within a family is kept; families share no flows."""

    def __init__(self, payload_max: int) -> None:
        self._room = payload_max
        self._open = {
            FLOW4.itemsize: _Open(Kind.LIVE4),
            FLOW6.itemsize: _Open(Kind.LIVE6),
        }
        self._flags = 0

    def offer(self, flows: Flows, *, ack_wanted: bool) -> bool:
        """Add records of one family; whether it is time to `take` them."""
        each = self._open[flows.dtype.itemsize]
        raw = flows.tobytes()
        each.parts.append(raw)
        each.size += len(raw)
        if ack_wanted:
            self._flags = ACK_WANTED
        return each.size >= HELD_BYTES

    def take(self) -> list[tuple[int, bytes, list[Item]]]:
        """All that is held, a family each: bytes of a record, all records, and the datagrams they make."""
        taken = []
        for size, each in self._open.items():
            if not each.parts:
                continue
            blob = each.parts[0] if len(each.parts) == 1 else b"".join(each.parts)
            each.parts.clear()
            each.size = 0
            step = self._room // size * size
            ends = range(step, len(blob) + step, step)
            items = [Item(each.kind, 0, len(blob[end - step : end]) // size, blob[end - step : end]) for end in ends]
            items[-1] = items[-1]._replace(flags=self._flags)
            taken.append((size, blob, items))
        self._flags = 0
        return taken
