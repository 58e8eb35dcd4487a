"""Templates: how to cut records out of all messages of one shape, one by one or hundreds at a time.

A shape is the length of a message and all its attribute headers. A running firewall shows a few dozen. What the
walker found in the first message of a shape holds for every other one, because nothing but those headers decided
about it; so each message is compared with them, and then only copied.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

from appliance_pfsync.flow import FLOW4, FLOW6, Flows
from appliance_pfsync.walker import Layout, walk

Rows = npt.NDArray[np.uint32]
"""Messages of one length, one a row, as words; padded to whole words."""
Mask = npt.NDArray[np.bool_]

_PADDING = bytes(16)
"""Fields that a message does not have are cut from here: as long as the longest of them."""


class _Piece(NamedTuple):
    """Bytes of the message that are bytes of the record."""

    to: int
    at: int
    size: int


class Template:
    """One shape."""

    def __init__(self, message: bytes) -> None:
        """Learn it from a first message.

        Raises:
            MalformedError: It is no message of a connection.
        """
        layout = walk(message)
        self.size = len(message)
        self.family = layout.family
        self._learn_headers(message, layout)
        if layout.family:
            self._learn_fields(layout, FLOW4 if layout.family == 4 else FLOW6)

    def _learn_headers(self, message: bytes, layout: Layout) -> None:
        words = (self.size + 3) // 4
        mask, constant = np.zeros(words * 4, np.uint8), np.zeros(words * 4, np.uint8)
        for at in layout.headers:
            mask[at : at + 4] = 0xFF
            constant[at : at + 4] = list(message[at : at + 4])
        self.mask, self.constant = (int.from_bytes(each.tobytes(), "little") for each in (mask, constant))
        self._mask = mask.view(np.uint32)
        self._constant = constant.view(f"V{words * 4}")

    def _learn_fields(self, layout: Layout, dtype: np.dtype[np.void]) -> None:
        pieces = _pieces(layout, dtype)
        self._dtype = dtype
        self._to = np.concatenate([np.arange(piece.to, piece.to + piece.size) for piece in pieces])
        self._at = np.concatenate([np.arange(piece.at, piece.at + piece.size) for piece in pieces])
        self._cut = itemgetter(*_slices(pieces, self.size, dtype.itemsize))
        assert dtype.fields is not None
        self._wscale_to = dtype.fields["wscale"][1]
        self._wscales = (layout.fields.get("wscale_orig"), layout.fields.get("wscale_reply"))

    # --- one -----------------------------------------------------------------------------------------------

    def record(self, message: bytes) -> bytearray:
        """The record of a message that fits (`int.from_bytes(message, "little") & mask == constant`); without op."""
        record = bytearray().join(self._cut(message + _PADDING))
        first, second = self._wscales
        if first is not None and second is not None:
            record[self._wscale_to] = (message[first] & 0x0F) << 4 | message[second] & 0x0F
        return record

    # --- many ----------------------------------------------------------------------------------------------

    def fitting(self, rows: Rows) -> Mask:
        """Which messages have this shape."""
        return cast(Mask, (rows & self._mask).view(self._constant.dtype)[:, 0] == self._constant)

    def records(self, rows: Rows) -> Flows:
        """The records of messages that fit; without op."""
        octets = rows.view(np.uint8)
        records = np.zeros((len(rows), self._dtype.itemsize), np.uint8)
        records[:, self._to] = octets.take(self._at, axis=1)
        first, second = self._wscales
        if first is not None and second is not None:
            records[:, self._wscale_to] = (octets[:, first] & 0x0F) << 4 | octets[:, second] & 0x0F
        return records.view(self._dtype)[:, 0]


def _pieces(layout: Layout, dtype: np.dtype[np.void]) -> list[_Piece]:
    """What to copy, in the order of the record."""
    assert dtype.fields is not None
    pieces = []
    for name, at in layout.fields.items():
        side, _, part = name.partition("_")
        if part in ("type", "code"):
            pieces.append(_Piece(dtype.fields[f"{side}_dport"][1] + (part == "code"), at, 1))
        elif side != "wscale":
            field, to = dtype.fields[name][:2]
            pieces.append(_Piece(to, at, field.itemsize))
    return sorted(pieces)


def _slices(pieces: Sequence[_Piece], size: int, record_size: int) -> list[slice]:
    """The same, with every gap between pieces cut from the padding behind the message."""
    slices, done = [], 0
    for to, at, length in (*pieces, _Piece(record_size, 0, 0)):
        while done < to:
            gap = min(to - done, len(_PADDING))
            slices.append(slice(size, size + gap))
            done += gap
        slices.append(slice(at, at + length))
        done += length
    return slices


class TemplateCache:
    """The shapes seen so far, up to a limit; then the oldest is forgotten, and learned again if it comes back."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._by_size: dict[int, tuple[Template, ...]] = {}
        self._oldest: deque[Template] = deque()

    def __len__(self) -> int:
        return len(self._oldest)

    def of(self, size: int) -> tuple[Template, ...]:
        """The shapes of messages of this length."""
        return self._by_size.get(size, ())

    def learn(self, message: bytes) -> Template:
        """Remember the shape of this message.

        Raises:
            MalformedError: It is no message of a connection.
        """
        template = Template(message)
        if len(self._oldest) >= self._limit:
            self._forget(self._oldest.popleft())
        self._oldest.append(template)
        self._by_size[template.size] = (*self.of(template.size), template)
        return template

    def _forget(self, old: Template) -> None:
        rest = tuple(each for each in self.of(old.size) if each is not old)
        if rest:
            self._by_size[old.size] = rest
        else:
            del self._by_size[old.size]
