"""Messages of several shapes are filled in together and come out in order."""

from __future__ import annotations

import numpy as np

from appliance.net.conntrack import attributes as a
from appliance_pfsync.blanks import Blank, build

LONG = 1


def write(blank: Blank, shape: int) -> None:
    blank.begin(a.CT_NEW, a.NLM_F_REQUEST)
    with blank.nest(20):
        blank.put(1, "small", "u1", after=b"\xff")
        if shape == LONG:
            blank.put(2, "large", ">u4")


def expected(row: int, small: int, large: int | None) -> bytes:
    inner = [a.attribute(1, bytes([small, 0xFF]))] + ([] if large is None else [a.be32(2, large)])
    return a.message(a.CT_NEW, 0, 2, a.nested(20, *inner), row)


def test_every_message_is_whole_and_in_its_place() -> None:
    shapes = np.array([LONG, 0, 0, LONG, 0], np.uint16)
    values = {"seq": np.arange(5), "small": np.arange(5) + 10, "large": np.arange(5) + 70000}
    messages = [expected(row, row + 10, row + 70000 if shape == LONG else None) for row, shape in enumerate(shapes)]
    assert build(write, 4, shapes, values) == b"".join(messages)
    alike = {name: of[1:3] for name, of in values.items()}
    assert build(write, 4, shapes[1:3], alike) == b"".join(messages[1:3])


def test_nothing_to_fill_in_is_no_message() -> None:
    nothing = np.zeros(0, np.uint16)
    assert build(write, 6, nothing, {"seq": nothing, "small": nothing, "large": nothing}) == b""
