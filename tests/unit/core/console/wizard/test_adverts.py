"""Who was heard in a frame; listening itself is tests/netns/console/test_wizard_cluster.py."""

import struct
from ipaddress import IPv4Address

from appliance.console.wizard.adverts import AUXDATA, PACKET_AUXDATA, SOL_PACKET, speaker, tag_of


def frame(payload: bytes, source: str = "192.0.2.9") -> bytes:
    """An IPv4 packet of protocol 112 to all virtual routers."""
    addresses = IPv4Address(source).packed + IPv4Address("224.0.0.18").packed
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 255, 112, 0) + addresses
    return bytes.fromhex("01005e00001200005e000107") + b"\x08\x00" + header + payload


CARP = struct.pack("!BBBBBBHQ20s", 0x21, 7, 100, 7, 0, 1, 0, 1, b"x" * 20)
VRRP = struct.pack("!BBBBHH4s", 0x31, 9, 100, 1, 100, 0, IPv4Address("192.0.2.1").packed)


def test_carp_and_vrrp_have_one_number_and_the_speaker_an_address() -> None:
    assert speaker(frame(CARP)) == {7: "192.0.2.9"}
    assert speaker(frame(VRRP)) == {9: "192.0.2.9"}


def test_other_frames_say_nothing() -> None:
    assert speaker(b"") == {}
    assert speaker(frame(b"")) == {}
    assert speaker(bytes.fromhex("ffffffffffff020000000001") + b"\x08\x06" + b"\0" * 28) == {}


def test_the_kernel_tells_the_tag_that_it_took_off() -> None:
    def told(status: int, tci: int) -> list[tuple[int, int, bytes]]:
        return [(SOL_PACKET, PACKET_AUXDATA, AUXDATA.pack(status, 0, 0, 0, 0, tci, 0x8100))]

    assert tag_of(told(1 << 4, 0x6014)) == 20, "without the priority"
    assert tag_of(told(0, 0)) is None
    assert tag_of([]) is None
    assert tag_of([(1, 1, b"x" * AUXDATA.size), (SOL_PACKET, PACKET_AUXDATA, b"short")]) is None
