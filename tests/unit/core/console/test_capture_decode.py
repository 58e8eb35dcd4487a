from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.console.capture_decode import Decoded, checksum_ok, decode

MAC = bytes.fromhex("00005e000101")


def with_checksum(data: bytes, at: int, pseudo: bytes = b"") -> bytes:
    """The data with the Internet checksum put in, computed another way than the decoder does."""
    whole = pseudo + data + b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(whole[index : index + 2]) for index in range(0, len(whole), 2)) % 0xFFFF
    return data[:at] + (0xFFFF - total).to_bytes(2) + data[at + 2 :]


def ipv4(payload: bytes, *, ttl: int = 255, source: str = "192.168.1.2", destination: str = "224.0.0.18") -> bytes:
    header = bytes([0x45, 0xE0, *(20 + len(payload)).to_bytes(2), 0, 0, 0x40, 0, ttl, 112, 0, 0])
    header += IPv4Address(source).packed + IPv4Address(destination).packed
    return bytes.fromhex("01005e000012") + MAC + b"\x08\x00" + with_checksum(header, 10) + payload


def ipv6(payload: bytes, following: int, *, hops: int = 255) -> bytes:
    header = b"\x60\0\0\0" + len(payload).to_bytes(2) + bytes([following, hops])
    header += IPv6Address("fe80::2").packed + IPv6Address("ff02::12").packed
    return bytes.fromhex("333300000012") + MAC + b"\x86\xdd" + header + payload


def carp(*, vhid: int = 1, advskew: int = 0, advbase: int = 1, demotion: int = 0) -> bytes:
    body = (
        bytes([0x21, vhid, advskew, 7, demotion, advbase, 0, 0]) + (0x1122334455667788).to_bytes(8) + bytes(range(20))
    )
    return with_checksum(body, 6)


def decoded(frame: bytes) -> Decoded:
    found = decode(frame)
    assert found is not None
    return found


def test_a_carp_advertisement_is_read() -> None:
    found = decoded(ipv4(carp(vhid=200, advskew=100)))
    assert found.protocol == "CARP"
    assert found.source == "192.168.1.2"
    assert found.destination == "224.0.0.18"
    assert found.source_mac == "00:00:5e:00:01:01"
    assert found.fields == {
        "vhid": 200,
        "advbase": 1,
        "advskew": 100,
        "counter": "1122334455667788",
        "digest": "00010203",
    }
    assert found.line() == (
        "CARP    192.168.1.2 > 224.0.0.18  vhid 200 advbase 1 advskew 100 counter 1122334455667788 "
        "digest 00010203  from 00:00:5e:00:01:01"
    )


def test_carp_over_ipv6_is_read() -> None:
    found = decoded(ipv6(carp(vhid=3), 112))
    assert (found.protocol, found.source, found.fields["vhid"]) == ("CARP", "fe80::2", 3)


def test_a_frame_that_was_padded_to_the_minimum_size_is_still_carp() -> None:
    assert decoded(ipv4(carp()) + b"\0" * 20).protocol == "CARP"


def test_what_an_operator_should_see_is_shown() -> None:
    fields = decoded(ipv4(carp(advskew=255, demotion=240), ttl=254)).fields
    assert fields["bow_out"] is True
    assert fields["demotion"] == 240
    assert fields["ttl"] == 254


def test_a_wrong_checksum_is_shown() -> None:
    broken = bytearray(carp())
    broken[20] ^= 1
    assert decoded(ipv4(bytes(broken))).fields["bad_checksum"] is True


@pytest.mark.parametrize("count", [1, 5, 7, 20])
def test_vrrp2_is_never_taken_for_carp(count: int) -> None:
    addresses = b"".join(IPv4Address(f"10.0.0.{index + 1}").packed for index in range(count))
    body = with_checksum(bytes([0x21, 51, 100, count, 0, 1, 0, 0]) + addresses + bytes(8), 6)
    found = decoded(ipv4(body))
    assert found.protocol == "VRRPv2"
    assert found.fields["vrid"] == 51
    assert found.fields["priority"] == 100
    assert found.fields["addresses"] == [f"10.0.0.{index + 1}" for index in range(count)]
    assert "bad_checksum" not in found.fields


@pytest.mark.parametrize("pseudo", [True, False])
def test_vrrp3_is_read_with_either_checksum(pseudo: bool) -> None:
    body = bytes([0x31, 7, 200, 1, 0x00, 0x0A, 0, 0]) + IPv4Address("10.0.0.1").packed
    header = IPv4Address("192.168.1.2").packed + IPv4Address("224.0.0.18").packed + b"\0\x70" + len(body).to_bytes(2)
    found = decoded(ipv4(with_checksum(body, 6, header if pseudo else b"")))
    assert found.protocol == "VRRPv3"
    assert found.fields == {"vrid": 7, "priority": 200, "interval_ms": 100, "addresses": ["10.0.0.1"]}


def hello(*, flags: int = 1, part: int = 0, parts: int = 1) -> bytes:
    head = bytes([0x22, 0, part, parts]) + bytes(8) + (77).to_bytes(8) + (240).to_bytes(2) + bytes([flags, 0, 0, 0, 9])
    return head + b"\x03fw2" + bytes(40)


def test_what_our_own_nodes_tell_each_other_is_named() -> None:
    found = decoded(ipv4(hello()))
    assert found.protocol == "hello"
    assert found.fields == {"node": "fw2", "demotion": 240, "sequence": 77}
    assert decoded(ipv4(hello(flags=2, part=1, parts=3))).fields == {
        "node": "fw2",
        "demotion": 240,
        "sequence": 77,
        "part": "2/3",
        "disabled": True,
        "maintenance": True,
    }


def test_an_unknown_use_of_the_protocol_number_is_shown_as_it_is() -> None:
    found = decoded(ipv4(b"\x99" + bytes(20)))
    assert (found.protocol, found.fields) == ("proto112", {"first_byte": "0x99", "length": 21})


def arp(operation: int, sender: str, target: str) -> bytes:
    body = b"\0\x01\x08\0\x06\x04" + operation.to_bytes(2) + MAC + IPv4Address(sender).packed + bytes(6)
    return b"\xff" * 6 + MAC + b"\x08\x06" + body + IPv4Address(target).packed


@pytest.mark.parametrize("operation", [1, 2])
def test_a_gratuitous_arp_is_named_as_one(operation: int) -> None:
    found = decoded(arp(operation, "192.168.1.1", "192.168.1.1"))
    assert found.protocol == "GARP"
    assert found.fields["gratuitous"] is True


def test_arp_questions_and_answers_are_told_apart() -> None:
    question = decoded(arp(1, "192.168.1.9", "192.168.1.1"))
    assert (question.protocol, question.fields) == ("ARP-req", {"asks_from": "00:00:5e:00:01:01"})
    answer = decoded(arp(2, "192.168.1.1", "192.168.1.9"))
    assert (answer.protocol, answer.fields) == ("ARP-rep", {"is_at": "00:00:5e:00:01:01"})


def test_a_neighbour_advertisement_is_read() -> None:
    body = bytes([136, 0, 0, 0, 0xA0, 0, 0, 0]) + IPv6Address("2001:db8:1::1").packed + b"\x02\x01" + MAC
    found = decoded(ipv6(body, 58))
    assert found.protocol == "NA"
    assert found.fields == {
        "target": "2001:db8:1::1",
        "is_at": "00:00:5e:00:01:01",
        "flags": ["router", "override"],
    }
    assert "flags router,override" in found.line()


def test_a_vlan_tag_is_stepped_over() -> None:
    frame = ipv4(carp(vhid=9))
    tagged = frame[:12] + b"\x81\x00\x00\x05" + frame[12:]
    assert decoded(tagged).fields["vhid"] == 9


def test_other_traffic_is_not_shown() -> None:
    assert decode(b"\xff" * 6 + MAC + b"\x88\xcc" + bytes(40)) is None
    tcp = bytearray(ipv4(carp()))
    tcp[14 + 9] = 6
    assert decode(bytes(tcp)) is None


@given(st.sampled_from([b"\x08\x00\x45", b"\x08\x06\0", b"\x86\xdd\x60", b"\x81\x00\x00"]), st.binary(max_size=120))
def test_no_bytes_make_the_decoder_raise(start: bytes, rest: bytes) -> None:
    found = decode(bytes(12) + start + rest)
    if found is not None:
        assert found.line()


@given(st.binary(min_size=0, max_size=40))
def test_every_cut_of_an_advertisement_is_survived(cut: bytes) -> None:
    frame = ipv4(carp())
    for length in (len(cut), len(frame) - len(cut)):
        decode(frame[:length])
    assert checksum_ok(with_checksum(b"\0\0" + cut, 0))
