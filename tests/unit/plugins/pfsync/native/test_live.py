"""Packing live records: small offers share datagrams, none is too large, nothing changes its place."""

from __future__ import annotations

import numpy as np

from appliance_pfsync.flow import FLOW4, FLOW6, Flows
from appliance_pfsync.native.header import ACK_WANTED, Kind
from appliance_pfsync.native.live import HELD_BYTES, Packer

ROOM = 1416


def records(count: int, first: int = 0, *, six: bool = False) -> Flows:
    flows: Flows = np.zeros(count, FLOW6 if six else FLOW4)
    flows["mark"] = np.arange(first, first + count)
    return flows


def test_small_offers_share_a_datagram() -> None:
    packer = Packer(ROOM)
    for first in range(0, 20, 2):
        packer.offer(records(2, first), ack_wanted=False)
    ((size, blob, items),) = packer.take()
    assert (size, blob) == (60, records(20).tobytes())
    assert [(item.kind, item.records, item.payload) for item in items] == [(Kind.LIVE4, 20, blob)]
    assert packer.take() == []


def test_large_offers_fill_datagrams_to_the_last_whole_record() -> None:
    packer = Packer(ROOM)
    packer.offer(records(50), ack_wanted=False)
    packer.offer(records(23 * 2 - 4, 50), ack_wanted=True)
    ((_, blob, items),) = packer.take()
    assert [item.records for item in items] == [23, 23, 23, 23]
    assert b"".join(item.payload for item in items) == blob == records(92).tobytes()
    assert [item.flags for item in items] == [0, 0, 0, ACK_WANTED]


def test_families_have_datagrams_of_their_own() -> None:
    packer = Packer(ROOM)
    packer.offer(records(1), ack_wanted=False)
    packer.offer(records(14, six=True), ack_wanted=False)
    assert [[(item.kind, item.records) for item in items] for _, _, items in packer.take()] == [
        [(Kind.LIVE4, 1)],
        [(Kind.LIVE6, 13), (Kind.LIVE6, 1)],
    ]


def test_much_is_not_held_back() -> None:
    packer = Packer(ROOM)
    assert not packer.offer(records(10), ack_wanted=False)
    assert packer.offer(records(HELD_BYTES // 60), ack_wanted=False)


def test_a_strided_view_is_packed_like_its_copy() -> None:
    packer = Packer(ROOM)
    packer.offer(records(10)[::2], ack_wanted=False)
    assert packer.take()[0][1] == records(10)[::2].copy().tobytes()
