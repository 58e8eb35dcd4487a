"""Echo requests and replies of ICMP (RFC 792) and ICMPv6 (RFC 4443), as bytes. Pure."""

from __future__ import annotations

import struct
from typing import NamedTuple

from appliance.net.frames import internet_checksum

ECHO_REQUEST, ECHO_REPLY = {4: 8, 6: 128}, {4: 0, 6: 129}
COOKIE_SIZE = 8
"""Bytes of payload by which a prober knows its own probes; identifiers are 16 bits and chosen by anybody."""

_HEADER = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence
_IPV4_HEADER_MIN = 20


class Echo(NamedTuple):
    """An echo reply."""

    identifier: int
    sequence: int
    payload: bytes


def request(version: int, identifier: int, sequence: int, payload: bytes) -> bytes:
    """An echo request. The kernel fills in the checksum of ICMPv6, which covers addresses."""
    kind = ECHO_REQUEST[version]
    message = _HEADER.pack(kind, 0, 0, identifier, sequence) + payload
    if version == 6:
        return message
    return _HEADER.pack(kind, 0, internet_checksum(message), identifier, sequence) + payload


def parse_reply(version: int, data: bytes) -> Echo | None:
    """The echo reply in what a raw socket received; nothing when it is anything else or damaged.

    A raw IPv4 socket delivers the IP header, too; a raw ICMPv6 socket does not, and checks the sum.
    """
    if version == 4:
        if len(data) < _IPV4_HEADER_MIN:
            return None
        length = (data[0] & 0x0F) * 4
        if length < _IPV4_HEADER_MIN:
            return None
        data = data[length:]
        if internet_checksum(data):
            return None
    if len(data) < _HEADER.size:
        return None
    kind, code, _sum, identifier, sequence = _HEADER.unpack_from(data)
    if (kind, code) != (ECHO_REPLY[version], 0):
        return None
    return Echo(identifier, sequence, data[_HEADER.size :])
