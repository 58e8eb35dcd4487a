"""Who goes before whom: pure comparisons between what we would send and what we heard.

Towards a foreign peer it is FreeBSD's rule: the shorter advertisement interval wins, a MASTER steps down on
equality. Between own-kind nodes it is OpenBSD's: the smaller demote byte wins, then the shorter interval; and
because two nodes that both step down on equality leave nobody, the higher source address decides at the end.
"""

from __future__ import annotations

import ipaddress
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from appliance_carp.vocabulary import Heard

MAX_SKEW = 240
"""CARP_MAXSKEW of FreeBSD: a demoted node advertises this and not more."""
DEMOTION_PER_BYTE = 8
"""Demotion is sent in the demote byte in steps of 8, so that eight sick reasons of 240 still compare."""
FAST_SKEW_MIN = 26
"""26/256 s = 102 ms: no false takeover was seen at this interval on a loaded virtual machine."""


class Verdict(Enum):
    """What one advert means to one VHID of ours."""

    BOW_OUT = "lets go of its whole group"
    LEAVING = "is slower than we would wait"
    MORE_DEMOTED = "is one of us and sicker than we are"
    BETTER = "goes before us"
    EQUAL = "is exactly as good, by FreeBSD's rule"
    WORSE = "goes after us"


class Own(NamedTuple):
    """How we stand."""

    advbase: int
    advskew: int
    """Effective: with demotion."""
    demote: int
    dead_ratio: int


def interval_s(advbase: int, advskew: int) -> float:
    """Return the time between two adverts (OpenBSD: 0/0 is 1/256 s)."""
    return advbase + advskew / 256 or 1 / 256


def effective_skew(advskew: int, demotion: int) -> int:
    """Return the skew that is sent (FreeBSD's way of demotion)."""
    return min(MAX_SKEW, advskew + demotion)


def demote_byte(demotion: int) -> int:
    """Return the byte that is sent (OpenBSD's way of demotion)."""
    return min(255, demotion // DEMOTION_PER_BYTE)


def fast_skew(advskew: int) -> int:
    """Return the skew of the sub-second profile (advbase 0): 26..41, 102..160 ms."""
    return FAST_SKEW_MIN + advskew // 16


@lru_cache(maxsize=256)
def address_order(source: str) -> tuple[int, int]:
    """Return a sort key for a source address."""
    address = ipaddress.ip_address(source.partition("%")[0])
    return address.version, int(address)


def judge(own: Own, heard: Heard) -> Verdict:
    """Compare one advert with our own standing."""
    if heard.is_bow_out:
        return Verdict.BOW_OUT
    theirs = interval_s(heard.advbase, heard.advskew)
    if heard.is_farewell or (own.advbase and own.dead_ratio * own.advbase + own.advskew / 256 < theirs):
        return Verdict.LEAVING
    if not heard.own_kind:
        return _by_interval(interval_s(own.advbase, own.advskew), theirs)
    if heard.demote != own.demote:
        return Verdict.MORE_DEMOTED if heard.demote > own.demote else Verdict.BETTER
    # A peer in the sub-second profile is compared with what we would send in the same profile.
    is_fast = heard.advbase == 0 and own.advbase > 0
    ours = interval_s(0, fast_skew(own.advskew)) if is_fast else interval_s(own.advbase, own.advskew)
    verdict = _by_interval(ours, theirs)
    if verdict is Verdict.EQUAL and heard.own_source and heard.own_source != heard.source:
        higher = address_order(heard.own_source) > address_order(heard.source)
        return Verdict.WORSE if higher else Verdict.BETTER
    return verdict


def _by_interval(ours: float, theirs: float) -> Verdict:
    if ours == theirs:
        return Verdict.EQUAL
    return Verdict.WORSE if ours < theirs else Verdict.BETTER
