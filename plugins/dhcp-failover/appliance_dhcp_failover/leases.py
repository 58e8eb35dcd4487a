"""A lease in Kea's words, in ours, and as nodes tell each other; and which of two is the right one. Pure.

Nodes never tell each other times of day but how long a lease has been there and how long it will be, so that clocks
that disagree neither lengthen nor shorten anything.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Any

from appliance_dhcp_failover.kea import SUBNET_ID

ASSIGNED, DECLINED, RECLAIMED = 0, 1, 2
"""Kea's states of a lease (src/lib/dhcpsrv/lease.h): in use; found in use by a stranger; over."""
HOSTNAME_MAX, IDENTIFIER_MAX, NODE_MAX = 255, 1024, 63
VALID_MAX_S = 2**32 - 1
RENEWED_S = 1.5
"""Kea's times are whole seconds: what is closer together than this is the same."""
_HEX = re.compile(r"^([0-9a-f]{2}(:[0-9a-f]{2})*)?$")
_NODE_KEY = "granted-by"
NO_MAC = "00:00:00:00:00:00"
"""Of an address that was declined: whoever used it is not known."""


class BadLease(ValueError):  # noqa: N818 - a condition
    """Not a lease; from the network, so it is counted and not an error of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Who has an address, and until when."""

    address: str
    mac: str
    client_id: str = ""
    hostname: str = ""
    state: int = ASSIGNED
    valid_s: int
    """How long it lasts from its beginning or last renewal on."""
    begun: float
    """When that was, in seconds since 1970 by the clock of this node."""
    node: str = ""
    """Name of the node that granted it first, whoever has renewed it since; empty: this one."""

    @property
    def expires(self) -> float:
        """Seconds since 1970 by the clock of this node."""
        return self.begun + self.valid_s

    def is_active(self, now: float) -> bool:
        """Whether nobody else may have the address."""
        return self.state != RECLAIMED and self.expires > now

    def is_of(self, other: Lease) -> bool:
        """Whether both are of the same client."""
        if self.client_id and other.client_id:
            return self.client_id == other.client_id
        return self.mac == other.mac


# --- Kea's words -------------------------------------------------------------------------------------------------


def from_kea(told: Mapping[str, Any]) -> Lease:
    """A lease as the lease commands and the high-availability hook write it.

    Raises:
        BadLease: It is none.
    """
    try:
        valid = int(told["valid-lft"])
        begun = float(told["cltt"]) if "cltt" in told else float(told["expire"]) - valid
        context = told.get("user-context")
        lease = Lease(
            address=str(told["ip-address"]),
            mac=str(told.get("hw-address", "")) or NO_MAC,
            client_id=str(told.get("client-id", "")),
            hostname=str(told.get("hostname", "")),
            state=int(told.get("state", ASSIGNED)),
            valid_s=valid,
            begun=begun,
            node=str(context.get(_NODE_KEY, "")) if isinstance(context, dict) else "",
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadLease(f"not a lease of Kea: {error}") from None
    return checked(lease)


def to_kea(lease: Lease) -> dict[str, Any]:
    """Arguments of ``lease4-update``."""
    made: dict[str, Any] = {
        "subnet-id": SUBNET_ID,
        "ip-address": lease.address,
        "hw-address": lease.mac,
        "hostname": lease.hostname,
        "state": lease.state,
        "valid-lft": lease.valid_s,
        "expire": round(lease.expires),
        "fqdn-fwd": False,
        "fqdn-rev": False,
        "force-create": True,
    }
    if lease.client_id:
        made["client-id"] = lease.client_id
    if lease.node:
        made["user-context"] = {_NODE_KEY: lease.node}
    return made


# --- between nodes -----------------------------------------------------------------------------------------------


def to_peer(lease: Lease, now: float, node: str) -> dict[str, Any]:
    """A lease for another node.

    Args:
        lease: What is told.
        now: Seconds since 1970.
        node: This node's name: what nobody else granted is from here.
    """
    return {
        "address": lease.address,
        "mac": lease.mac,
        "client_id": lease.client_id,
        "hostname": lease.hostname,
        "state": lease.state,
        "valid_s": lease.valid_s,
        "age_s": round(now - lease.begun, 3),
        "node": lease.node or node,
    }


def from_peer(told: object, now: float) -> Lease:
    """A lease that another node told.

    Raises:
        BadLease: It is none.
    """
    if not isinstance(told, dict):
        raise BadLease("a lease is an object")
    texts = [told.get(name) for name in ("address", "mac", "client_id", "hostname", "node")]
    numbers = [told.get(name) for name in ("state", "valid_s", "age_s")]
    if not all(isinstance(each, str) for each in texts):
        raise BadLease("a text of a lease is missing or none")
    if not all(isinstance(each, int | float) and not isinstance(each, bool) for each in numbers):
        raise BadLease("a number of a lease is missing or none")
    return checked(
        Lease(
            address=told["address"],
            mac=told["mac"],
            client_id=told["client_id"],
            hostname=told["hostname"],
            state=int(told["state"]),
            valid_s=int(told["valid_s"]),
            begun=now - float(told["age_s"]),
            node=told["node"],
        )
    )


def checked(lease: Lease) -> Lease:
    """The lease itself.

    Raises:
        BadLease: A value is impossible or too long.
    """
    try:
        IPv4Address(lease.address)
    except ValueError:
        raise BadLease(f"{lease.address[:40]!r} is no IPv4 address") from None
    for text, limit in ((lease.mac, 60), (lease.client_id, IDENTIFIER_MAX)):
        if len(text) > limit or not _HEX.match(text):
            raise BadLease(f"{text[:40]!r} identifies no client")
    if len(lease.hostname) > HOSTNAME_MAX or not lease.hostname.isprintable() or len(lease.node) > NODE_MAX:
        raise BadLease("a name is too long or not printable")
    if lease.state not in (ASSIGNED, DECLINED, RECLAIMED) or not 0 <= lease.valid_s <= VALID_MAX_S:
        raise BadLease("state or time is impossible")
    if not abs(lease.begun) < 2**40:
        raise BadLease("its beginning is impossible")
    return lease


# --- which one is right ------------------------------------------------------------------------------------------


def is_better(theirs: Lease, mine: Lease | None, *, now: float, they_serve: bool) -> bool:
    """Whether another node's lease replaces ours: the younger does, and of equals that of the one who serves.

    Args:
        theirs: What the other node has.
        mine: What this one has of the address.
        now: Seconds since 1970.
        they_serve: The other node answers the clients, so it knows best.
    """
    if not theirs.is_active(now):
        return False
    if mine is None or not mine.is_active(now):
        return True
    ahead = theirs.begun - mine.begun
    if abs(ahead) > RENEWED_S:
        return ahead > 0
    return they_serve and (theirs.mac, theirs.client_id, theirs.hostname, theirs.state) != (
        mine.mac,
        mine.client_id,
        mine.hostname,
        mine.state,
    )


def is_conflict(theirs: Lease, mine: Lease | None, *, now: float, we_serve: bool) -> bool:
    """Whether another node is about to give a client an address that this one has given to another client."""
    if mine is None or not we_serve or not mine.is_active(now) or theirs.state == DECLINED:
        return False
    return not mine.is_of(theirs)


def digest(table: Iterable[Lease], now: float) -> str:
    """What two nodes with the same leases have the same: who has which address, without times."""
    rows = sorted(
        f"{lease.address} {lease.mac} {lease.client_id} {lease.hostname} {lease.state}"
        for lease in table
        if lease.is_active(now)
    )
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]


def named(lease: Lease, node: str) -> Lease:
    """The lease with the name of the node that granted it."""
    return lease if lease.node else replace(lease, node=node)
