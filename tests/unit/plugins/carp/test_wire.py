"""Adverts as bytes: golden vectors, refusals with the right counter, and fuzz."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from timeit import repeat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance_carp.wire import (
    ADVERT_SIZE,
    Advert,
    Key,
    Malformed,
    Packet,
    checksum,
    describe_foreign,
    encode,
    hashed_addresses,
    parse,
    parse_ipv4,
    parse_ipv6,
)

VECTORS = Path(__file__).parents[3] / "vectors" / "carp"
COUNTER = 0x0123456789ABCDEF


def load(*kinds: str) -> list[dict[str, str]]:
    found = []
    for path in sorted(VECTORS.glob("*.txt")):
        text = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("#"))
        for block in text.split("\n\n"):
            vector = {name: value.strip() for name, _, value in (line.partition(":") for line in block.splitlines())}
            if vector.get("kind") in kinds:
                found.append(vector)
    return found


def key_of(vector: dict[str, str], **how: bool) -> Key:
    return Key(vector["password"], int(vector["vhid"]), vector["addresses"].split(), **how)


def with_names(*kinds: str) -> list[object]:
    return [pytest.param(vector, id=vector["name"]) for vector in load(*kinds)]


def ip_packet(vector: dict[str, str]) -> bytes:
    return bytes.fromhex(vector["hex"])[14 if vector["kind"] == "frame" else 0 :]


def payload_of(vector: dict[str, str]) -> bytes:
    if vector["kind"] == "header":
        return bytes.fromhex(vector["hex"])
    packet = ip_packet(vector)
    return (parse_ipv6 if packet[0] >> 4 == 6 else parse_ipv4)(packet).payload


def fails_with(counter: str, data: bytes, parser: object = parse) -> None:
    with pytest.raises(Malformed) as raised:
        parser(data)  # type: ignore[operator]
    assert raised.value.counter == counter


def test_all_vectors_are_loaded() -> None:
    assert len(load("frame", "packet", "header", "digest", "digest-nov6ll")) == 16


@pytest.mark.parametrize("vector", with_names("frame", "packet", "header"))
def test_a_vector_is_parsed_and_its_digest_verified(vector: dict[str, str]) -> None:
    advert = parse(payload_of(vector))
    assert advert == Advert(
        vhid=int(vector["vhid"]),
        advskew=int(vector["advskew"]),
        advbase=int(vector["advbase"]),
        demote=int(vector["demote"]),
        counter=int(vector["counter"], 16),
        digest=bytes.fromhex(vector["digest"]),
    )
    assert key_of(vector).verifies(advert)


@pytest.mark.parametrize("vector", with_names("frame", "packet", "header"))
def test_a_vector_is_encoded_to_the_same_bytes(vector: dict[str, str]) -> None:
    numbers = {name: int(vector[name]) for name in ("advskew", "advbase", "demote")}
    assert encode(key_of(vector), **numbers, counter=int(vector["counter"], 16)) == payload_of(vector)


@pytest.mark.parametrize("vector", with_names("digest", "digest-nov6ll"))
def test_a_digest_vector_is_reproduced(vector: dict[str, str]) -> None:
    key = key_of(vector, send_nov6ll=vector["kind"] == "digest-nov6ll")
    assert key.digest(bytes.fromhex(vector["counter"])).hex() == vector["digest"]


def test_both_treatments_of_link_local_addresses_are_accepted() -> None:
    addresses = ["2001:db8::1", "fe80::200:5eff:fe00:101"]
    sent = {"advskew": 0, "advbase": 1, "demote": 0, "counter": 7}
    freebsd = Key("pass", 1, addresses)
    openbsd = Key("pass", 1, addresses, send_nov6ll=True)
    without = Key("pass", 1, addresses[:1])
    assert encode(openbsd, **sent) == encode(without, **sent) != encode(freebsd, **sent)
    for receiver in (freebsd, openbsd):
        assert receiver.verifies(parse(encode(freebsd, **sent)))
        assert receiver.verifies(parse(encode(openbsd, **sent)))
    assert not without.verifies(parse(encode(freebsd, **sent)))


@pytest.mark.parametrize(
    ("password", "vhid", "addresses"),
    [("other", 1, ["192.0.2.1"]), ("pass", 2, ["192.0.2.1"]), ("pass", 1, ["192.0.2.2"]), ("pass", 1, [])],
)
def test_another_password_vhid_or_address_set_does_not_verify(password: str, vhid: int, addresses: list[str]) -> None:
    advert = parse(encode(Key("pass", 1, ["192.0.2.1"]), advskew=0, advbase=1, demote=0, counter=1))
    assert not Key(password, vhid, addresses).verifies(advert)


def test_addresses_are_taken_in_any_form_and_hashed_once_in_order() -> None:
    forms = [
        "10.0.0.2/24",
        ipaddress.IPv4Address("10.0.0.1"),
        "10.0.0.2",
        "fe80:9::1%eth0",
        "2001:db8::1",
        "0.0.0.0",
        "::",
    ]
    assert [str(ipaddress.ip_address(one)) for one in hashed_addresses(forms)] == [
        "10.0.0.1",
        "10.0.0.2",
        "2001:db8::1",
        "fe80::1",
    ]


def good(**changes: int) -> bytes:
    return encode(
        Key("pass", 1, ["192.0.2.1"]), **{"advskew": 5, "advbase": 1, "demote": 0, "counter": COUNTER} | changes
    )


def test_refused_payloads_are_counted_as_freebsd_does() -> None:
    packet = good()
    fails_with("badlen", b"")
    fails_with("badlen", packet[:-1])
    fails_with("badver", b"\x31" + packet[1:])
    fails_with("badver", b"\x22" + packet[1:])
    fails_with("badsum", packet[:2] + b"\x06" + packet[3:])


def test_bytes_after_the_advert_are_tolerated_if_either_checksum_is_right() -> None:
    packet = good()
    assert parse(packet + b"\0\0") == parse(packet)
    assert parse(packet + b"\x12\x34") == parse(packet)
    tail = b"\x12\x34"
    resummed = bytearray(packet + tail)
    resummed[6:8] = b"\0\0"
    resummed[6:8] = checksum(bytes(resummed)).to_bytes(2, "big")
    assert parse(bytes(resummed)).counter == COUNTER


def ipv4(payload: bytes, *, options: bytes = b"", fragment: int = 0x4000, ttl: int = 255, extra: int = 0) -> bytes:
    size = 20 + len(options)
    total = size + len(payload) + extra
    head = bytes((0x40 | size // 4, 0xE0)) + total.to_bytes(2, "big") + b"\0\0" + fragment.to_bytes(2, "big")
    head += bytes((ttl, 112)) + b"\0\0" + bytes((192, 0, 2, 1, 224, 0, 0, 18)) + options
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + payload


def test_ipv4_options_and_ethernet_padding_are_no_part_of_the_payload() -> None:
    packet = parse_ipv4(ipv4(good(), options=b"\x94\x04\0\0", ttl=254) + b"padding")
    assert packet == Packet("192.0.2.1", "224.0.0.18", 254, good())


def test_broken_ipv4_is_refused() -> None:
    packet = ipv4(good())
    fails_with("hdrops", packet[:19], parse_ipv4)
    fails_with("hdrops", b"\x60" + packet[1:], parse_ipv4)
    fails_with("hdrops", b"\x44" + packet[1:], parse_ipv4)
    fails_with("hdrops", b"\x4f" + packet[1:30], parse_ipv4)
    fails_with("hdrops", packet[:9] + b"\x11" + packet[10:], parse_ipv4)
    fails_with("hdrops", ipv4(good(), fragment=0x2000), parse_ipv4)
    fails_with("hdrops", ipv4(good(), fragment=0x0001), parse_ipv4)
    fails_with("badlen", ipv4(good(), extra=1), parse_ipv4)
    fails_with("badlen", packet[:2] + b"\0\x10" + packet[4:], parse_ipv4)
    fails_with("badsum", packet[:1] + b"\0" + packet[2:], parse_ipv4)


def test_ipv6_is_bounded_by_its_payload_length() -> None:
    address = ipaddress.IPv6Address
    head = b"\x60\0\0\0\0\x24\x70\xff" + address("fe80::1").packed + address("ff02::12").packed
    assert parse_ipv6(head + good() + b"padding") == Packet("fe80::1", "ff02::12", 255, good())
    fails_with("badlen", head + good()[:-1], parse_ipv6)
    fails_with("hdrops", head[:39], parse_ipv6)
    fails_with("hdrops", b"\x40" + head[1:] + good(), parse_ipv6)
    fails_with("hdrops", head[:6] + b"\x00" + head[7:] + good(), parse_ipv6)


def vrrp2(count: int, auth: int = 0) -> bytes:
    body = bytes((0x21, 10, 100, count, auth, 1, 0, 0)) + bytes((10, 0, 0, 1)) * count + bytes(8)
    return body[:6] + checksum(body).to_bytes(2, "big") + body[8:]


def test_vrrp_speakers_are_described() -> None:
    def described(payload: bytes, source: str = "192.0.2.7") -> str | None:
        return describe_foreign(Packet(source, "224.0.0.18", 255, payload))

    v3 = bytes((0x31, 10, 100, 1, 0, 100, 0, 0, 10, 0, 0, 1))
    assert described(vrrp2(1)) == "VRRP version 2 from 192.0.2.7: id 10, priority 100, addresses 10.0.0.1"
    assert described(vrrp2(5)) is not None, "36 bytes like CARP, but not seven words of authentication"
    assert described(v3) == "VRRP version 3 from 192.0.2.7: id 10, priority 100, addresses 10.0.0.1"
    assert described(v3[:8] + ipaddress.IPv6Address("fe80::5").packed, "fe80::1") == (
        "VRRP version 3 from fe80::1: id 10, priority 100, addresses fe80::5"
    )
    assert described(good()) is None
    assert described(b"\x22" + bytes(60)) is None
    assert described(b"") is None


@given(st.binary(max_size=120))
@settings(max_examples=300, deadline=None)
def test_no_input_raises_anything_but_malformed(data: bytes) -> None:
    for parser in (parse, parse_ipv4, parse_ipv6):
        counter = ""
        try:
            parser(data)
        except Malformed as refused:
            counter = refused.counter
        assert counter in {"", "hdrops", "badlen", "badver", "badsum"}
    describe_foreign(Packet("192.0.2.1", "224.0.0.18", 255, data))


@given(st.binary(min_size=20, max_size=100), st.sampled_from([b"\x45", b"\x46", b"\x60"]))
@settings(max_examples=200, deadline=None)
def test_nearly_right_ip_packets_raise_nothing_else_either(data: bytes, first: bytes) -> None:
    shaped = first + data[1:6] + b"\x70" + data[7:9] + b"\x70" + data[10:]
    for parser in (parse_ipv4, parse_ipv6):
        try:
            packet = parser(shaped)
        except Malformed:
            continue
        assert packet.payload in shaped


byte = st.integers(0, 255)


@given(byte, byte, byte, byte, st.integers(0, 2**64 - 1), st.binary(max_size=19))
@settings(deadline=None)
def test_what_is_encoded_is_parsed_again(
    vhid: int, advskew: int, advbase: int, demote: int, counter: int, password: bytes
) -> None:
    key = Key(password, vhid, ["192.0.2.1", "2001:db8::1"])
    payload = encode(key, advskew=advskew, advbase=advbase, demote=demote, counter=counter)
    assert len(payload) == ADVERT_SIZE
    assert checksum(payload) == 0
    advert = parse(payload)
    assert advert[:5] == (vhid, advskew, advbase, demote, counter)
    assert key.verifies(advert)


@given(st.integers(0, 35), st.integers(1, 255))
@settings(deadline=None)
def test_one_changed_byte_never_verifies_unless_the_digest_does_not_cover_it(at: int, flip: int) -> None:
    payload = bytearray(good())
    payload[at] ^= flip
    payload[6:8] = b"\0\0"
    payload[6:8] = checksum(bytes(payload)).to_bytes(2, "big")
    try:
        advert = parse(bytes(payload))
    except Malformed:
        return
    covered = at >= 8
    assert Key("pass", 1, ["192.0.2.1"]).verifies(advert) != covered


def test_an_advert_costs_microseconds() -> None:
    """The budget is 4 and 3 us on an idle machine; ten times that catches a wrong design on a busy one."""
    key = Key("pass", 1, ["192.0.2.1", "192.0.2.2"])
    payload = good()
    encoding = min(repeat(lambda: encode(key, advskew=1, advbase=1, demote=0, counter=5), number=500, repeat=5)) / 500
    receiving = min(repeat(lambda: key.verifies(parse(payload)), number=500, repeat=5)) / 500
    assert encoding < 40e-6
    assert receiving < 30e-6
