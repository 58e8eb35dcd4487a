"""The bytes in front of every datagram: what is readable, what is only after decryption.

::

    outer, 16 bytes, readable and authenticated
        0x4E  type  version  0  session(4) counter(8)
    inner, 32 bytes, encrypted with the payload
        kind  flags  count(2)  sequence(8)  ack(8)  behind(4)  pending(4)  credit(2)  held(2)
    payload
    tag: 16 bytes of AES-GCM, or 4 bytes of CRC-32 in plain mode

- No BSD knows version 0x4E (its first byte is 2, 5 or 6), so it counts ``badver`` and goes on.
- `session` names the key and the direction; (session, counter) is the nonce.
- `sequence` counts the datagrams whose kind is below `UNSEQUENCED`; every other one carries the next number,
  which says that all numbers below it have been used.
- `ack`: everything up to it has arrived, in order. `behind`: the lowest number that the sender can still
  repeat is ``sequence - behind``. `pending`: how many of the acknowledged ones are not in the kernel yet.
- `credit`: how many datagrams may be ahead of the kernel before bulk records wait. `held`: tenths of a
  millisecond that the acknowledgement has waited for company.
- The payload of bulk kinds ends with one number of 4 bytes a record: how many milliseconds ago the sender last
  heard, live, that the flow exists (`NEVER`: not that it remembers), see `memory`.
"""

from __future__ import annotations

import struct
from enum import IntEnum

from appliance_pfsync.flow import FLOW4, FLOW6

MAGIC = 0x4E
HELLO, DATA = 1, 2
OUTER = struct.Struct("!BBBBIQ")
INNER = struct.Struct("!BBHQQIIHH")
TAG_BYTES, CRC_BYTES = 16, 4
DATAGRAM_MAX = 9216
"""Jumbo frames; nothing larger is ours."""
ACK_WANTED = 1
"""Flag: acknowledge as soon as this one is in the kernel."""
REPAIR = 2
"""Flag of bulk kinds: the records answer an audit and are no part of a bulk update."""
LAST = 4
"""Flag of audit kinds: nothing more of this kind in this round."""
AGE_BYTES = 4
NEVER = 0xFFFFFFFF
UNSEQUENCED = 128


class Kind(IntEnum):
    """What a datagram carries."""

    LIVE4 = 1
    LIVE6 = 2
    BULK4 = 3
    BULK6 = 4
    CLEAR = 5
    """Every replicated state is to be removed."""
    LOST = 6
    """The sender could not send everything: compare soon."""
    BULK_REQUEST = 7
    BULK_START = 8
    BULK_END = 9
    AUDIT_OPEN = 16
    AUDIT_DIGEST = 17
    AUDIT_ASK = 18
    AUDIT_LIST = 19
    AUDIT_WANT = 20
    AUDIT_DELETE = 21
    AUDIT_CLOSE = 22
    AUDIT_PLEASE = 23
    """Begin an audit soon: the one who asks is not the one who begins."""
    ACK = 128
    NACK = 129
    """Ranges of sequence numbers that are missing: first(8) count(4) each."""
    PROBE = 130
    """Is everything there?"""


RECORDS = {Kind.LIVE4: FLOW4, Kind.LIVE6: FLOW6, Kind.BULK4: FLOW4, Kind.BULK6: FLOW6}
"""Kinds that are arrays of flows, by their dtype."""
DTYPES = {int(kind): dtype for kind, dtype in RECORDS.items()}
BULK_KINDS = (int(Kind.BULK4), int(Kind.BULK6))


class Malformed(Exception):  # noqa: N818 - what it describes is the datagram, not a failure of ours
    """A datagram that changes nothing; `reason` is the name of the counter."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def payload_room(datagram_max: int) -> int:
    """Bytes of payload in the largest datagram."""
    return datagram_max - OUTER.size - INNER.size - TAG_BYTES
