"""Blank netlink messages about connections, and filling in hundreds of them at a time.

A blank is written once per shape, attribute by attribute; it knows where its fields are. Filling in is then one
copy of the blank per record and one assignment per field, for all records of the shape at once.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from appliance_pfsync import walker as cta
from appliance_pfsync.flow import Flows

_NESTED = 0x8000
_NAT_V4, _NAT_V6, _NAT_PROTO = (1, 2), (4, 5), 3  # minimum, maximum

Values = Mapping[str, npt.NDArray[Any]]
"""One array per field of a message, one element per record."""
Shapes = npt.NDArray[np.uint16]
"""What each message consists of, as numbers that mean something to who writes the blanks."""


class _Place(NamedTuple):
    """A field of a message."""

    source: str
    format: str
    at: int


class Blank:
    """A message of one shape while it is written: constant bytes, and places for what differs."""

    def __init__(self, family: int) -> None:
        self._family = family
        self._address = ">u4" if family == 4 else "V16"
        self.data = bytearray()
        self.places = [_Place("seq", "=u4", 8)]

    def begin(self, kind: int, flags: int) -> None:
        """The two headers; the length comes last."""
        self.data += struct.pack("=LHHLL", 0, kind, flags, 0, 0)
        self.data += bytes([socket.AF_INET if self._family == 4 else socket.AF_INET6, 0, 0, 0])

    def put(self, kind: int, source: str, form: str, after: bytes = b"") -> None:
        """One attribute with one field, and constant bytes after it."""
        size = np.dtype(form).itemsize
        self.data += struct.pack("=HH", 4 + size + len(after), kind)
        self.places.append(_Place(source, form, len(self.data)))
        self.data += bytes(size) + after
        self.data += bytes(-len(self.data) % 4)

    @contextmanager
    def nest(self, kind: int) -> Iterator[None]:
        """An attribute that consists of attributes."""
        start = len(self.data)
        self.data += bytes(4)
        yield
        struct.pack_into("=HH", self.data, start, len(self.data) - start, kind | _NESTED)

    def tuple(self, kind: int, addresses: tuple[str, str], ports: str, echo: tuple[int, int, int] | None) -> None:
        """One direction.

        Args:
            kind: Which.
            addresses: Sources of both addresses.
            ports: Sources of the ports begin so.
            echo: Attributes of identifier, type and code, of an ICMP message.
        """
        source, destination = (1, 2) if self._family == 4 else (3, 4)
        with self.nest(kind):
            with self.nest(cta.TUPLE_IP):
                self.put(source, addresses[0], self._address)
                self.put(destination, addresses[1], self._address)
            with self.nest(cta.TUPLE_PROTO):
                self.put(cta.PROTO_NUM, "proto", "u1")
                if echo is not None:
                    self.put(echo[0], f"{ports}_sport", ">u2")
                    self.put(echo[1], f"{ports}_type", "u1")
                    self.put(echo[2], f"{ports}_code", "u1")
                else:
                    self.put(cta.PROTO_SRC_PORT, f"{ports}_sport", ">u2")
                    self.put(cta.PROTO_DST_PORT, f"{ports}_dport", ">u2")

    def nat(self, kind: int, address: str, port: str | None) -> None:
        """To this one address and port."""
        with self.nest(kind):
            for bound in _NAT_V4 if self._family == 4 else _NAT_V6:
                self.put(bound, address, self._address)
            if port is not None:
                with self.nest(_NAT_PROTO):
                    self.put(1, port, ">u2")
                    self.put(2, port, ">u2")


Make = Callable[[Blank, int], None]
"""Writes the blank of one shape."""


class _Shape(NamedTuple):
    blank: np.void
    layout: np.dtype[np.void]
    fields: list[tuple[str, str]]
    """Name in the message, name among the values."""


@cache  # four messages, two families, at most 512 shapes
def _shape(make: Make, family: int, shape: int) -> _Shape:
    message = Blank(family)
    make(message, shape)
    struct.pack_into("=L", message.data, 0, len(message.data))
    names = [f"{index}_{place.source}" for index, place in enumerate(message.places)]
    layout = np.dtype(
        {
            "names": names,
            "formats": [place.format for place in message.places],
            "offsets": [place.at for place in message.places],
            "itemsize": len(message.data),
        }
    )
    return _Shape(
        np.void(bytes(message.data)),
        layout,
        [(name, place.source) for name, place in zip(names, message.places, strict=True)],
    )


def build(make: Make, family: int, shapes: Shapes, values: Values) -> bytes:
    """All messages, in the order of the records.

    Args:
        make: Writes the blanks. Called once per family and shape, ever.
        family: 4 or 6.
        shapes: Of each message. A few dozen different numbers.
        values: Every field that the blanks have, and `seq`.
    """
    present = np.flatnonzero(np.bincount(shapes)).tolist()
    if len(present) == 1:
        return _fill(_shape(make, family, present[0]), len(shapes), values).tobytes()
    sizes = np.zeros(len(shapes), np.intp)
    groups = []
    for each in present:
        rows = np.flatnonzero(shapes == each)
        shape = _shape(make, family, each)
        sizes[rows] = shape.layout.itemsize
        groups.append((rows, _fill(shape, len(rows), values, rows)))
    ends = sizes.cumsum() // 4
    buffer = np.zeros(int(sizes.sum()), np.uint8)
    for rows, messages in groups:
        size = messages.dtype.itemsize
        # One view of a message's length at every word of the buffer: assigning to it copies whole messages.
        everywhere = np.ndarray(((len(buffer) - size) // 4 + 1,), f"V{size}", buffer.data, strides=(4,))
        everywhere[ends[rows] - size // 4] = messages.view(f"V{size}")
    return buffer.tobytes()


def _fill(shape: _Shape, count: int, values: Values, rows: npt.NDArray[np.intp] | None = None) -> Flows:
    # As a whole first: with the layout numpy would copy the fields only.
    messages = np.full(count, shape.blank).view(shape.layout)
    for name, source in shape.fields:
        messages[name] = values[source] if rows is None else values[source][rows]
    return messages
