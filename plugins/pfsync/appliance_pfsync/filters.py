"""Which records are worth telling, and one record per flow instead of many. Pure, and on whole batches."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from appliance_pfsync.flow import FLOW4, KEY4, KEY6, TCP, Flows, Op, Status, TcpState, family_of, key_hashes

Mask = npt.NDArray[np.bool_]
Addresses = npt.NDArray[np.generic]

PFSYNC, CARP = 240, 112
_BROADCAST4 = 0xFFFF_FFFF
_LOOPBACK6 = np.void((1).to_bytes(16, "big"))
_NO_LABELS = np.void(bytes(16))
_TCP_FIELDS = ("tcp_state", "tcp_flags_orig", "tcp_flags_reply", "wscale")
_INSERT, _DELETE = int(Op.INSERT), int(Op.DELETE)
"""Looking up a member of an enumeration takes longer than all else that is done with it."""
FEW = 64
"""Records up to which single steps are faster than arrays."""
_ADDRESSES = ("orig_src", "orig_dst", "reply_src", "reply_dst")
_HANDSHAKE = np.zeros(256, np.bool_)
_HANDSHAKE[[TcpState.SYN_SENT, TcpState.SYN_RECV, TcpState.SYN_SENT2]] = True
"""By TCP state; a table is looked up in a tenth of the time that `np.isin` takes."""
_UNFINISHED = _HANDSHAKE.copy()
_UNFINISHED[[TcpState.NONE, TcpState.CLOSE]] = True
"""Without ASSURED: a handshake that is under way or has failed."""


class LocalAddresses:
    """Addresses of this node, prepared for looking up whole batches."""

    def __init__(self, addresses: Iterable[str]) -> None:
        """Addresses as text, a zone (`%eth0`) is ignored. Raises: ValueError."""
        parsed = {ipaddress.ip_address(each.partition("%")[0]) for each in addresses}
        self._four = np.array(sorted(int(each) for each in parsed if each.version == 4), np.uint32)
        self._six = np.array(sorted(each.packed for each in parsed if each.version == 6), "S16")

    def contain(self, addresses: Addresses) -> Mask:
        """Which of these (a field of FLOW4 or FLOW6) are the node's own."""
        if addresses.dtype.itemsize == 4:
            if not len(self._four):
                return np.zeros(len(addresses), np.bool_)
            native = addresses.astype(np.uint32)
            at = np.minimum(np.searchsorted(self._four, native), len(self._four) - 1)
            found: Mask = self._four[at] == native
            return found
        # As strings of fixed length they compare like the bytes they are.
        return np.isin(np.ascontiguousarray(addresses).view("S16"), self._six)


def exportable(flows: Flows, local: LocalAddresses, *, early: bool = False) -> Mask:
    """Which of these are told to peers: what passes through this node, and what it can lose.

    Not told: flows that the node began itself or that end at it. After DNAT the end is the reply's source; flows
    that only use an own address for their translation (SNAT to it, DNAT from it) pass through, and are told.
    Nor loopback, multicast and broadcast, and the cluster's own protocols.

    Of TCP, neither is a handshake under way or failed (unless `early`), which more than halves the records of a
    connection and all those of a scan. What that loses: a handshake during which the other node takes over is
    not known there. The client's repeated SYN begins it anew, a moment later; a SYN-ACK or ACK without a state is
    dropped by a firewall that only accepts new connections with a SYN, so that the repeated SYN decides.

    A DELETE is always told if anything could have been told of the flow before: not of TCP that ended inside its
    handshake. So is a REQUEST.
    """
    passes: Mask = ~(local.contain(flows["orig_src"]) | local.contain(flows["reply_src"]))
    passes &= ~_stays_here(flows)
    passes &= (flows["proto"] != PFSYNC) & (flows["proto"] != CARP)
    if not early:
        passes &= ~_unfinished_tcp(flows)
    return passes


def _stays_here(flows: Flows) -> Mask:
    """Never forwarded, whoever has which address."""
    destination = flows["orig_dst"]
    stays: Mask
    if family_of(flows) == 4:
        stays = (destination >> 28 == 0xE) | (destination == _BROADCAST4)  # 224.0.0.0/4
        for name in _ADDRESSES:
            stays |= flows[name] >> 24 == 127
    else:
        stays = np.ascontiguousarray(destination).view(np.uint8)[::16] == 0xFF  # ff00::/8
        for name in _ADDRESSES:
            stays |= flows[name] == _LOOPBACK6
    return stays


def _unfinished_tcp(flows: Flows) -> Mask:
    is_over = flows["op"] >= Op.DELETE
    state = flows["tcp_state"]
    # What ended as a handshake was one all its life. A failed one may have been more before (picked up midway), and
    # kernels before 5.9 end every flow without telling its state.
    unfinished = np.where(is_over, _HANDSHAKE[state], _UNFINISHED[state])
    is_assured = (flows["status"] & int(Status.ASSURED)) != 0
    result: Mask = unfinished & ~is_assured & (flows["proto"] == TCP)
    return result


# --- one record per flow -----------------------------------------------------------------------------------------


def coalesce(flows: Flows) -> Flows:
    """Per flow the last word only; flows in the order of their last words. The array may be the one that was given.

    - INSERT and UPDATE are one record with the last content; an INSERT if one of them was.
    - After a DELETE (or REQUEST) everything before is of no interest.
    - What comes after a DELETE is another flow with the same tuple: both records are kept, in this order.
    - An event leaves out what did not change: a TCP state or labels that the last record lacks come from the latest
      record of the same life that has them.

    A flow is its key (`KEY4`, `KEY6`), compared byte by byte; the hash only brings equal ones together.
    """
    return _coalesce_few(flows) if len(flows) <= FEW else _coalesce_many(flows)


def _coalesce_few(flows: Flows) -> Flows:
    """One by one: for the batches of a quiet node it takes a tenth of the time."""
    raw, size = bytearray(flows.tobytes()), flows.dtype.itemsize
    key = KEY4 if size == FLOW4.itemsize else KEY6
    last: dict[bytes, tuple[int, int]] = {}  # the last end, and the last word of the life after it; -1 for none
    for start in range(0, len(raw), size):
        name = bytes(raw[start + key.start : start + key.stop])
        end, before = last.get(name, (-1, -1))
        if raw[start] >= _DELETE:
            last[name] = (start, -1)
            continue
        if before >= 0:
            _inherit(raw, before, start, size)
        last[name] = (end, start)
    kept = sorted(start for pair in last.values() for start in pair if start >= 0)
    if len(kept) == len(flows):
        return flows
    return np.frombuffer(bytearray().join([raw[start : start + size] for start in kept]), flows.dtype)


def _inherit(raw: bytearray, before: int, heir: int, size: int) -> None:
    """Put into a record what the one before it, of the same life, said and it does not."""
    if raw[before] == _INSERT:
        raw[heir] = _INSERT
    labels = size - 16
    tcp = labels - len(_TCP_FIELDS)  # a byte each, in front of the labels
    if not raw[heir + tcp]:
        raw[heir + tcp : heir + labels] = raw[before + tcp : before + labels]
    if not any(raw[heir + labels : heir + size]):
        raw[heir + labels : heir + size] = raw[before + labels : before + size]


def _coalesce_many(flows: Flows) -> Flows:
    order, is_first = _by_flow(flows)
    if is_first.all():
        return flows
    grouped = flows[order]
    count = len(grouped)
    rows = np.arange(count)
    is_end = grouped["op"] >= Op.DELETE
    begins = is_first.copy()  # a life: the key's first record, or one after an end
    begins[1:] |= is_end[:-1]
    is_last = np.append(is_first[1:], True)
    life = np.maximum.accumulate(np.where(begins, rows, 0))
    # The last of each key, and the end before its last life if that is all there is of it.
    kept = is_last.copy()
    previous = life[is_last & ~is_end & ~is_first[life]] - 1
    kept[previous] = True
    _complete(grouped, kept & ~is_end, life)
    result: Flows = grouped[kept][order[kept].argsort()]
    return result


def _complete(grouped: Flows, last: Mask, life: npt.NDArray[np.intp]) -> None:
    """Put into the last record of each life what the earlier ones said and it does not."""
    rows = np.arange(len(grouped))
    for has, take in (
        (grouped["op"] == Op.INSERT, ["op"]),
        (grouped["tcp_state"] != 0, list(_TCP_FIELDS)),
        (grouped["labels"] != _NO_LABELS, ["labels"]),
    ):
        latest = np.maximum.accumulate(np.where(has, rows, -1))
        to = np.flatnonzero(last & ~has & (latest >= life))
        if len(to):
            for name in take:
                grouped[name][to] = grouped[name][latest[to]]


def _by_flow(flows: Flows) -> tuple[npt.NDArray[np.intp], Mask]:
    """An order that has the records of each flow together and in their order, and where in it a flow begins."""
    hashes = key_hashes(flows)
    order = hashes.argsort(kind="stable")
    ordered = hashes[order]
    is_first = np.ones(len(flows), np.bool_)
    is_first[1:] = ordered[1:] != ordered[:-1]
    if is_first.all():
        return order, is_first
    keys = _keys(flows)
    differs = np.ones(len(flows), np.bool_)
    differs[1:] = keys[order[1:]] != keys[order[:-1]]
    if (differs != is_first).any():  # two keys with one hash
        order = keys.argsort(kind="stable")
        differs[1:] = keys[order[1:]] != keys[order[:-1]]
    return order, differs


def _keys(flows: Flows) -> npt.NDArray[np.bytes_]:
    size = flows.dtype.itemsize
    raw = np.ascontiguousarray(flows).view(np.uint8).reshape(len(flows), size)
    key = np.ascontiguousarray(raw[:, KEY4 if size == FLOW4.itemsize else KEY6])
    return key.view(f"S{key.shape[1]}")[:, 0]
