"""Flow records one by one: plain numbers and bytes, because this dialect looks at every flow by itself."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from appliance_pfsync.flow import FLOW4, FLOW6, KEY4, KEY6, Flows

_STRUCTS = {4: struct.Struct("!BBH4s4sHH4s4sHHIIIBBBB16s"), 6: struct.Struct("!BBH16s16sHH16s16sHHIIIBBBB16s")}
_DTYPES = {4: FLOW4, 6: FLOW6}
_KEYS = {4: KEY4, 6: KEY6}
assert all(_STRUCTS[family].size == dtype.itemsize for family, dtype in _DTYPES.items())


class Record(NamedTuple):
    """The fields of a flow record in their order, see `appliance_pfsync.flow`. Addresses are packed."""

    op: int
    proto: int
    zone: int
    orig_src: bytes
    orig_dst: bytes
    orig_sport: int
    orig_dport: int
    reply_src: bytes
    reply_dst: bytes
    reply_sport: int
    reply_dport: int
    status: int = 0
    timeout: int = 0
    mark: int = 0
    tcp_state: int = 0
    tcp_flags_orig: int = 0
    tcp_flags_reply: int = 0
    wscale: int = 0
    labels: bytes = bytes(16)

    @property
    def family(self) -> int:
        """4 or 6."""
        return 4 if len(self.orig_src) == 4 else 6

    def pack(self) -> bytes:
        """The bytes of the record."""
        return _STRUCTS[self.family].pack(*self)

    @property
    def key(self) -> bytes:
        """What names the flow: protocol, zone and both tuples. The length tells the family."""
        return self.pack()[_KEYS[self.family]]


def each(flows: Flows) -> Iterator[Record]:
    """The records of an array."""
    family = 4 if flows.dtype == FLOW4 else 6
    return map(Record._make, _STRUCTS[family].iter_unpack(flows.tobytes()))


def array(records: Iterable[Record], family: int) -> Flows:
    """The array of records of one family."""
    return np.frombuffer(b"".join([record.pack() for record in records]), _DTYPES[family])
