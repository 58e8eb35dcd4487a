"""Turns what the kernel says about connections (ctnetlink messages) into records.

A record holds what the message says; what it leaves out is zero. The kernel leaves out a mark of zero, and of an
event whatever did not change: an UPDATE of TCP with `tcp_state` 0 says nothing about the state, and zero labels
say nothing about labels.

Messages of one length are taken together: compared with the templates of that length and cut into records at
once. Where they are too few for that to pay, one by one.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from appliance_pfsync.flow import FLOW4, FLOW6, Flows, Op
from appliance_pfsync.templates import Rows, Template, TemplateCache
from appliance_pfsync.walker import HEADER_BYTES, MalformedError

TEMPLATES_MAX = 256
"""Shapes remembered. A firewall with helpers, zones and labels in use shows some thirty."""
TOGETHER_MIN = 16
"""From this many messages of one length on, taking them together is faster than one by one."""
LEARN_MAX = 8
"""New shapes of one length learned from one batch; what has yet another shape goes one by one."""

_CT_NEW, _CT_DELETE = 0x0100, 0x0102  # NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_…
_CREATE = 0x0400  # NLM_F_CREATE
_HEAD = struct.Struct("=4xHH4xL")  # of nlmsghdr: type, flags, port id
_TYPE, _FLAGS, _PORT = 2, 3, 3  # the same, in 16, 16 and 32-bit words

Pids = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Batch:
    """Records in the order of the messages, each family by itself. They belong to the caller."""

    flows4: Flows
    flows6: Flows
    pids4: Pids
    """Of each record the netlink port of who caused it; 0 when the kernel acted by itself."""
    pids6: Pids
    skipped: int
    """Messages about something else, or malformed."""
    unsupported: int
    """Connections that no record can hold."""


class Decoder:
    """Decodes batches, and remembers shapes between them."""

    def __init__(self, templates_max: int = TEMPLATES_MAX) -> None:
        self._templates = TemplateCache(templates_max)

    def decode(self, buffer: bytes | bytearray | memoryview, *, dump: bool = False) -> Batch:
        """Whatever the bytes are, it never raises.

        Args:
            buffer: Messages one after the other, as the kernel pads them.
            dump: They are the answer to a question and no events: all of them INSERT.
        """
        raw = bytes(buffer)
        end = len(raw)
        if end % 4:
            raw += bytes(4 - end % 4)
        batch = _Collector(dump)
        by_size, rest = _split(raw, end)
        batch.skipped += rest
        for size, starts in by_size.items():
            if size < HEADER_BYTES:
                batch.skipped += len(starts)
            elif len(starts) < TOGETHER_MIN:
                self._one_by_one(raw, size, starts, batch)
            else:
                self._together(raw, size, starts, batch)
        return batch.result()

    def _one_by_one(self, raw: bytes, size: int, starts: Iterable[int], batch: _Collector) -> None:
        templates = self._templates.of(size)
        for start in starts:
            message = raw[start * 4 : start * 4 + size]
            kind, flags, pid = _HEAD.unpack_from(message)
            if kind not in (_CT_NEW, _CT_DELETE):
                batch.skipped += 1
                continue
            number = int.from_bytes(message, "little")
            for template in templates:
                if number & template.mask == template.constant:
                    break
            else:
                try:
                    template = self._templates.learn(message)
                except MalformedError:
                    batch.skipped += 1
                    continue
                templates = self._templates.of(size)
            batch.add_one(template, start, message, _op(kind, flags), pid)

    def _together(self, raw: bytes, size: int, starts: list[int], batch: _Collector) -> None:
        at = np.array(starts)
        rows = _rows(raw, size, at)
        kinds = rows.view(np.uint16)[:, _TYPE]
        about_connections = (kinds == _CT_NEW) | (kinds == _CT_DELETE)
        if not about_connections.all():
            batch.skipped += len(at) - int(about_connections.sum())
            rows, at = rows[about_connections], at[about_connections]
        for template in self._templates.of(size):
            if not len(at):
                return
            rows, at = batch.add_fitting(template, at, rows)
        self._learn(raw, size, (rows, at), batch)

    def _learn(self, raw: bytes, size: int, strangers: tuple[Rows, npt.NDArray[np.intp]], batch: _Collector) -> None:
        rows, at = strangers
        learned = 0
        while len(at) and learned < LEARN_MAX:
            try:
                template = self._templates.learn(rows[0].tobytes()[:size])
            except MalformedError:
                batch.skipped += 1
                rows, at = rows[1:], at[1:]
            else:
                learned += 1
                rows, at = batch.add_fitting(template, at, rows)
        self._one_by_one(raw, size, at.tolist(), batch)


def _split(raw: bytes, end: int) -> tuple[dict[int, list[int]], int]:
    """Where messages begin, in words, by their length in bytes; and 1 if the last one is cut off or no message."""
    words = memoryview(raw).cast("I")
    by_size: defaultdict[int, list[int]] = defaultdict(list)
    at, stop = 0, len(words)
    while at < stop:
        size = words[at]
        if size < 16 or at * 4 + size > end:
            return by_size, 1
        by_size[size].append(at)
        at += (size + 3) >> 2
    return by_size, 0


def _rows(raw: bytes, size: int, at: npt.NDArray[np.intp]) -> Rows:
    """The messages of this length that begin at these words."""
    words = (size + 3) // 4
    # One view of a message's length at every word of the buffer: taking from it copies whole messages.
    everywhere: Flows = np.ndarray((len(raw) // 4 - words + 1,), f"V{words * 4}", raw, strides=(4,))
    return everywhere[at].view(np.uint32).reshape(len(at), words)


def _op(kind: int, flags: int) -> Op:
    if kind == _CT_DELETE:
        return Op.DELETE
    return Op.INSERT if flags & _CREATE else Op.UPDATE


@dataclass(slots=True)
class _Collector:
    """Records of both families, with where in the batch they come from."""

    dump: bool
    skipped: int = 0
    unsupported: int = 0
    singles: dict[int, list[tuple[int, bytearray, int]]] = field(default_factory=lambda: {4: [], 6: []})
    """Start, record, port id."""
    parts: dict[int, list[tuple[npt.NDArray[np.intp], Flows, Pids]]] = field(default_factory=lambda: {4: [], 6: []})

    def add_one(self, template: Template, start: int, message: bytes, op: Op, pid: int) -> None:
        if not template.family:
            self.unsupported += 1
            return
        record = template.record(message)
        record[0] = Op.INSERT if self.dump else op
        self.singles[template.family].append((start, record, pid))

    def add_fitting(
        self, template: Template, at: npt.NDArray[np.intp], rows: Rows
    ) -> tuple[Rows, npt.NDArray[np.intp]]:
        """Take those that have this shape; the others are returned."""
        fits = template.fitting(rows)
        if fits.all():
            self._add(template, at, rows)
            return rows[:0], at[:0]
        if fits.any():
            self._add(template, at[fits], rows[fits])
            return rows[~fits], at[~fits]
        return rows, at

    def _add(self, template: Template, at: npt.NDArray[np.intp], rows: Rows) -> None:
        if not template.family:
            self.unsupported += len(at)
            return
        records = template.records(rows)
        records["op"] = Op.INSERT if self.dump else _ops(rows)
        self.parts[template.family].append((at, records, rows[:, _PORT].copy()))

    def result(self) -> Batch:
        flows4, pids4 = self._family(4, FLOW4)
        flows6, pids6 = self._family(6, FLOW6)
        return Batch(flows4, flows6, pids4, pids6, self.skipped, self.unsupported)

    def _family(self, family: int, dtype: np.dtype[np.void]) -> tuple[Flows, Pids]:
        parts = self.parts[family]
        if singles := self.singles[family]:
            at, records, ports = zip(*sorted(singles), strict=True)
            parts.append((np.array(at), np.frombuffer(bytearray().join(records), dtype), np.array(ports, np.uint32)))
        if not parts:
            return np.zeros(0, dtype), np.zeros(0, np.uint32)
        if len(parts) == 1:
            return parts[0][1:]
        starts, flows, pids = zip(*parts, strict=True)
        order = np.concatenate(starts).argsort()
        # Without the dtype numpy makes an array in the byte order of this machine.
        return np.concatenate(flows, dtype=dtype)[order], np.concatenate(pids)[order]


def _ops(rows: Rows) -> npt.NDArray[np.uint8]:
    head = rows.view(np.uint16)
    is_new = (head[:, _FLAGS] & _CREATE) != 0
    return np.where(head[:, _TYPE] == _CT_DELETE, Op.DELETE, np.where(is_new, Op.INSERT, Op.UPDATE)).astype(np.uint8)
