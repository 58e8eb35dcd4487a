"""Numbers of BSD's pfsync, and what differs between its dialects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from types import MappingProxyType

from appliance_pfsync.settings import Version

HEADER_BYTES, SUBHEADER_BYTES = 20, 4
ID_BYTES, BUS_BYTES, CLEAR_BYTES, UPD_C_BYTES, TDB_BYTES = 12, 12, 20, 84, 48
IP_BYTES = 40
"""Every BSD leaves room for an IPv6 header, even under IPv4 (if_pfsync.c)."""


class Action(IntEnum):
    """What a subheader announces (if_pfsync.h). 13 and 14 are INS_1400 and UPD_1400 in version 5, INS and UPD in 6."""

    CLR = 0
    INS_1301 = 1
    INS_ACK = 2
    UPD_1301 = 3
    UPD_C = 4
    UPD_REQ = 5
    DEL = 6
    DEL_C = 7
    INS_F = 8
    DEL_F = 9
    BUS = 10
    TDB = 11
    EOF = 12
    INS = 13
    UPD = 14
    INS_1500 = 15
    UPD_1500 = 16


TDB_V6 = 15
"""What version 6 means by 15; it is skipped."""


class Direction(IntEnum):
    """On which way through the firewall a state was made (pfvar.h, PF_IN and PF_OUT)."""

    IN = 1
    OUT = 2


class StateFlag(IntFlag):
    """Of `state_flags` only what matters here (pfvar.h, PFSTATE_*)."""

    SLOPPY = 0x2
    NOSYNC = 0x8
    ACK = 0x10


class Bus(IntEnum):
    """Status of a bulk update (if_pfsync.h, PFSYNC_BUS_*)."""

    START = 1
    END = 2


class Peer(IntEnum):
    """States of one side of a TCP connection that pf uses (pfvar.h, netinet/tcp_fsm.h)."""

    NONE = 0
    SYN_SENT = 2
    ESTABLISHED = 4
    FIN_SENT = 7
    FIN_ACKED = 9
    RESET = 10
    PROXY_SRC = 11
    PROXY_DST = 12


NO_TRAFFIC, SINGLE, MULTIPLE = 0, 1, 2
"""States of one side of UDP and other protocols (pfvar.h, PFUDPS_* and PFOTHERS_*)."""


class Timeout(IntEnum):
    """Which of pf's timeouts a state is under (pfvar.h, PFTM_*)."""

    TCP_FIRST = 0
    TCP_OPENING = 1
    TCP_ESTABLISHED = 2
    TCP_CLOSING = 3
    TCP_FIN_WAIT = 4
    TCP_CLOSED = 5
    UDP_FIRST = 6
    UDP_SINGLE = 7
    UDP_MULTIPLE = 8
    ICMP_FIRST = 9
    ICMP_ERROR_REPLY = 10
    OTHER_FIRST = 11
    OTHER_SINGLE = 12
    OTHER_MULTIPLE = 13


TIMEOUT_S = (120, 30, 86400, 900, 45, 90, 60, 30, 60, 20, 10, 60, 30, 60)
"""Their defaults (pf.conf(5)); the order is that of `Timeout`."""

_STATE_BYTES = {Action.INS_1301: 242, Action.UPD_1301: 242, Action.INS: 277, Action.UPD: 277,
                Action.INS_1500: 360, Action.UPD_1500: 360}  # fmt: skip
_COMMON = {Action.CLR: CLEAR_BYTES, Action.INS_ACK: ID_BYTES, Action.UPD_C: UPD_C_BYTES, Action.UPD_REQ: ID_BYTES,
           Action.DEL_C: ID_BYTES, Action.BUS: BUS_BYTES}  # fmt: skip
_V5 = MappingProxyType({**_COMMON, **_STATE_BYTES, Action.TDB: TDB_BYTES, Action.EOF: 0})
_V6 = MappingProxyType({**_COMMON, Action.DEL: 264, Action.INS: 264, Action.UPD: 264})


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One dialect: what is sent, and how what is received is read."""

    version: int
    """First byte of every datagram."""
    insert: Action
    update: Action
    sizes: Mapping[Action, int]
    """Bytes of one message of every action that is understood."""
    inet6: int
    """AF_INET6 of that system; AF_INET is 2 everywhere."""
    timeout_max: int
    """Timeouts from this number on are invalid (PFTM_MAX)."""
    order: tuple[Action, ...]
    """In which order the subheaders of one datagram stand."""
    retry_s: float
    """Between two requests for a bulk update."""

    @property
    def has_eof(self) -> bool:
        """Version 5 ends every datagram with a subheader of its own and implies sizes; 6 states sizes."""
        return self.version == 5

    @property
    def state_bytes(self) -> int:
        """Size of one full state as it is sent."""
        return self.sizes[self.insert]

    def budget(self, mtu: int) -> int:
        """Bytes of subheaders and messages that fit into one datagram."""
        return mtu - IP_BYTES - HEADER_BYTES - (SUBHEADER_BYTES if self.has_eof else 0)

    def states_per_datagram(self, mtu: int) -> int:
        """How many full states fit; at least one."""
        return max(1, (self.budget(mtu) - SUBHEADER_BYTES) // self.state_bytes)


def _freebsd(insert: Action, update: Action) -> Form:
    order = (insert, Action.INS_ACK, update, Action.UPD_C, Action.DEL_C, Action.UPD_REQ, Action.CLR, Action.BUS)
    return Form(version=5, insert=insert, update=update, sizes=_V5, inet6=28, timeout_max=25, order=order, retry_s=5.0)


FORMS: Mapping[Version, Form] = MappingProxyType({
    "1301": _freebsd(Action.INS_1301, Action.UPD_1301),
    "1400": _freebsd(Action.INS, Action.UPD),
    "1500": _freebsd(Action.INS_1500, Action.UPD_1500),
    "openbsd": Form(
        version=6,
        insert=Action.INS,
        update=Action.UPD,
        sizes=_V6,
        inet6=24,
        timeout_max=20,
        order=(Action.INS_ACK, Action.UPD_C, Action.DEL_C, Action.INS, Action.UPD, Action.UPD_REQ, Action.CLR,
               Action.BUS),
        retry_s=2.0,
    ),
})  # fmt: skip
