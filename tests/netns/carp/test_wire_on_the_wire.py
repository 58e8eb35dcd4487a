"""What our nodes really put on a network, byte by byte, at the switch port where it arrives."""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest

from appliance.lab import Lab
from appliance.lab.config import PASSWORD
from appliance.lab.waiting import is_all
from tests.netns.carp.wires import Frame, Wire, digest, internet_checksum, mac, tapped

pytestmark = [pytest.mark.netns, pytest.mark.slow]

VIPS = ("192.168.1.1", "2001:db8:1::1")
VIRTUAL_MAC = "00:00:5e:00:01:01"


@dataclass
class Record:
    """A short life of fw1, and the beginning of fw2's reign, on the LAN."""

    fw1: list[Frame]
    fw2: list[Frame]
    decoded: dict[int, str]
    """tcpdump's words about an advert, by family."""

    def adverts(self, node: str, family: int) -> list[Frame]:
        frames: list[Frame] = getattr(self, node)
        return [frame for frame in frames if frame.is_advert and frame.family == family]


@pytest.fixture(scope="module")
def record(settled: Lab) -> Iterator[Record]:
    with tapped(settled, "lansw", "fw1") as fw1, tapped(settled, "lansw", "fw2") as fw2:
        dumps = {family: start_tcpdump(settled, word) for family, word in ((4, "ip"), (6, "ip6"))}
        for family in (4, 6):
            fw1.wait(advert_of(family), f"three IPv{family} adverts", count=3)
        decoded = {family: dump.communicate(timeout=10)[0] for family, dump in dumps.items()}
        settled.stop("fw1")
        settled.wait_for(lambda seen: is_all(seen.get("fw2"), "MASTER"), "fw2 took over")
        for family in (4, 6):
            fw2.wait(advert_of(family), f"an IPv{family} advert of fw2")
        yield Record(from_port(fw1), from_port(fw2), decoded)


def start_tcpdump(lab: Lab, word: str) -> subprocess.Popen[str]:
    # The last condition leaves out the hellos, whose type is 2.
    first = "ip[20]" if word == "ip" else "ip6[40]"
    condition = f"{word} proto 112 and {first} = 0x21"
    argv = ("tcpdump", "-T", "carp", "-l", "-n", "-e", "-vvv", "-c", "2", "-Q", "in", "-i", "fw1", condition)
    return lab.popen("lansw", "timeout", "8", *argv)


def advert_of(family: int) -> Callable[[Frame], bool]:
    return lambda frame: frame.is_advert and frame.family == family and not frame.outgoing


def from_port(wire: Wire) -> list[Frame]:
    return [frame for frame in wire.listen() if not frame.outgoing]


def test_an_advert_over_ipv4_has_freebsds_form(record: Record) -> None:
    for frame in record.adverts("fw1", 4)[:3]:
        assert len(frame.raw) == 70
        assert frame.raw[:14] == mac("01:00:5e:00:00:12") + mac(VIRTUAL_MAC) + b"\x08\x00"
        version_ihl, tos, total, _, fragment, ttl, protocol = struct.unpack("!BBHHHBB", frame.ip[:10])
        assert (version_ihl, tos, total) == (0x45, 0xE0, 56)
        assert fragment == 0x4000, "do not fragment, offset 0"
        assert (ttl, protocol) == (255, 112)
        assert internet_checksum(frame.ip[:20]) == 0
        assert (frame.source, frame.destination) == ("192.168.1.2", "224.0.0.18")


def test_an_advert_over_ipv6_has_freebsds_form(record: Record, settled: Lab) -> None:
    for frame in record.adverts("fw1", 6)[:3]:
        assert len(frame.raw) == 90
        assert frame.raw[:14] == mac("33:33:00:00:00:12") + mac(VIRTUAL_MAC) + b"\x86\xdd"
        first, length, next_header, hop_limit = struct.unpack("!IHBB", frame.ip[:8])
        assert first == 0x6E000000, "version 6, traffic class 0xe0, flow label 0"
        assert (length, next_header, hop_limit) == (36, 112, 255)
        assert frame.destination == "ff02::12"
        assert frame.source == "fe80::fc:ff:fe01:101", "the link-local address of the card"
    assert settled.topology.cable("fw1", "lan").device_mac == "02:fc:00:01:01:01"


@pytest.mark.parametrize("family", [4, 6])
def test_the_36_bytes_are_summed_and_signed_as_the_protocol_says(record: Record, family: int) -> None:
    for frame in record.adverts("fw1", family)[:3]:
        advert = frame.advert
        assert internet_checksum(frame.payload) == 0, "over the 36 bytes alone, also with IPv6"
        assert (advert.version_type, advert.vhid, advert.authlen) == (0x21, 1, 7)
        assert (advert.advbase, advert.advskew, advert.demote) == (1, 0, 0)
        assert advert.digest == digest(PASSWORD, 1, VIPS, advert.counter), "both families in every digest"


def test_no_counter_is_used_twice_and_they_rise(record: Record) -> None:
    counters = [frame.advert.counter for frame in record.fw1 if frame.is_advert]
    assert counters == sorted(set(counters))


@pytest.mark.parametrize("family", [4, 6])
def test_adverts_come_once_a_second(record: Record, family: int) -> None:
    regular = [frame.at for frame in record.adverts("fw1", family) if not frame.advert.is_bow_out]
    gaps = [later - earlier for earlier, later in pairwise(regular)]
    # Never more often; later only when this machine itself stood still, as shared ones do at times.
    assert 0.9 < min(gaps) < 1.2, gaps


@pytest.mark.parametrize("family", [4, 6])
def test_tcpdump_reads_it_as_carp_version_2(record: Record, family: int) -> None:
    # It would put "[ttl=…]" in front of the fields, and "(bad carp cksum …)" or "truncated" after them.
    clean = re.compile(r" CARPv2-advertise 36: vhid=1 advbase=1 advskew=0 authlen=7 counter=\d+$", re.MULTILINE)
    assert len(clean.findall(record.decoded[family])) == 2, record.decoded[family]


@pytest.mark.parametrize("family", [4, 6])
def test_an_orderly_stop_ends_with_a_signed_bow_out_of_255_255(record: Record, family: int) -> None:
    *before, last = record.adverts("fw1", family)
    assert last.advert.is_bow_out
    assert not any(frame.advert.is_bow_out for frame in before[:3])
    assert last.advert.digest == digest(PASSWORD, 1, VIPS, last.advert.counter)
    assert internet_checksum(last.payload) == 0
    assert last.source_mac == VIRTUAL_MAC


def test_after_its_bow_out_nothing_comes_from_the_virtual_mac_of_fw1(record: Record) -> None:
    spoken = [frame for frame in record.fw1 if frame.source_mac == VIRTUAL_MAC]
    assert spoken[-1].is_advert
    assert spoken[-1].advert.is_bow_out


def test_the_successor_speaks_within_milliseconds_of_the_bow_out(record: Record) -> None:
    bow_out = next(frame for frame in record.fw1 if frame.is_advert and frame.advert.is_bow_out)
    first = next(frame for frame in record.fw2 if frame.is_advert)
    assert -0.001 < first.at - bow_out.at < 0.3
    assert (first.advert.advbase, first.advert.advskew) == (1, 100)
    assert first.source_mac == VIRTUAL_MAC


def test_the_successor_announces_the_address_by_gratuitous_arp(record: Record) -> None:
    arps = [frame for frame in record.fw2 if frame.ethertype == 0x0806 and frame.source_mac == VIRTUAL_MAC]
    virtual, address = mac(VIRTUAL_MAC), bytes((192, 168, 1, 1))
    assert arps[0].raw[:42] == (
        b"\xff" * 6 + virtual + b"\x08\x06"
        + bytes.fromhex("0001080006040001") + virtual + address + bytes(6) + address
    )  # fmt: skip


def test_the_successor_announces_the_address_by_an_unsolicited_neighbour_advertisement(record: Record) -> None:
    adverts = [frame for frame in record.fw2 if frame.family == 6 and frame.protocol == 58 and frame.payload[0] == 136]
    frame = next(frame for frame in adverts if frame.source_mac == VIRTUAL_MAC)
    vip = bytes.fromhex("20010db8000100000000000000000001")
    all_nodes = bytes.fromhex("ff020000000000000000000000000001")
    assert frame.destination_mac == "33:33:00:00:00:01"
    assert frame.ip[:8] == bytes.fromhex("60000000") + struct.pack("!HBB", 32, 58, 255)
    assert frame.ip[8:40] == vip + all_nodes
    kind, code, _, flags = struct.unpack("!BBHI", frame.payload[:8])
    assert (kind, code) == (136, 0)
    assert flags == 0xA0000000, "router and override, not solicited"
    assert frame.payload[8:] == vip + bytes((2, 1)) + mac(VIRTUAL_MAC)
    pseudo = frame.ip[8:40] + struct.pack("!II", 32, 58)
    assert internet_checksum(pseudo + frame.payload) == 0


def test_the_first_words_of_the_successor_are_the_adverts_then_the_announcements(record: Record) -> None:
    spoken = [frame for frame in record.fw2 if frame.source_mac == VIRTUAL_MAC]
    kinds = ["advert" if frame.is_advert else f"{frame.ethertype:04x}" for frame in spoken[:4]]
    assert kinds == ["advert", "advert", "0806", "86dd"]
