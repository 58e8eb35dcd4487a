"""The bytes in front of datagrams: sizes that other implementations of the protocol rely on."""

from __future__ import annotations

from appliance_pfsync.flow import FLOW4, FLOW6
from appliance_pfsync.native.header import DTYPES, INNER, MAGIC, OUTER, UNSEQUENCED, Kind, payload_room


def test_the_headers_have_the_sizes_of_the_description() -> None:
    assert (OUTER.size, INNER.size) == (16, 32)
    assert OUTER.pack(MAGIC, 2, 1, 0, 0x01020304, 5).hex() == "4e020100" + "01020304" + "0000000000000005"


def test_a_datagram_of_an_ethernet_frame_has_room_for_23_records() -> None:
    assert payload_room(1500 - 20) // FLOW4.itemsize == 23


def test_only_what_may_get_lost_has_no_number() -> None:
    assert {kind for kind in Kind if kind >= UNSEQUENCED} == {Kind.ACK, Kind.NACK, Kind.PROBE}
    assert DTYPES == {1: FLOW4, 2: FLOW6, 3: FLOW4, 4: FLOW6}
