"""DHCP for people and programs: the answer of ``show dhcp``. Pure, but for the time of day."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Address
from typing import Any

from appliance_dhcp_failover.leases import DECLINED, Lease
from appliance_dhcp_failover.pool import Pool
from appliance_dhcp_failover.replicator import Replicator
from appliance_dhcp_failover.settings import Settings

LEASES_MAX = 10_000
"""Leases that are shown; `leases_total` says how many there are."""


def document(settings: Settings, pools: Sequence[Pool], replicator: Replicator, *, leases: bool) -> dict[str, Any]:
    """What ``show dhcp --json`` prints; without leases where thousands of them would take time from clients."""
    now = time.time()
    active = [(pool, lease) for pool in pools for lease in pool.table.active(now)]
    return {
        "node": settings.node,
        "pools": [_pool(pool, replicator, now) for pool in pools],
        "peers": [
            {
                "name": name,
                "state": str(link.state),
                "error": link.error,
                "clock_ahead_s": round(link.skew_s, 3),
            }
            for name, link in replicator.links.items()
        ],
        "replication": replicator.problem,
        "leases_total": len(active),
        "leases": [_lease(pool, lease, settings.node) for pool, lease in active[:LEASES_MAX]] if leases else [],
    }


def found(text: str, pools: Sequence[Pool], node: str) -> dict[str, Any]:
    """Leases with this text in one of their columns."""
    now, wanted = time.time(), text.lower()
    columns = ("address", "mac", "client_id", "hostname")
    rows = [row for pool in pools for row in _leases(pool, node, now)]
    return {"leases": [row for row in rows if any(wanted in str(row[name]).lower() for name in columns)][:LEASES_MAX]}


def _pool(pool: Pool, replicator: Replicator, now: float) -> dict[str, Any]:
    settings = pool.settings
    used = pool.table.used(settings, now)
    link = next(iter(replicator.links.values()), None)
    theirs = link.pools.get(settings.interface) if link is not None else None
    return {
        "interface": settings.interface,
        "subnet": str(settings.subnet),
        "server": str(settings.address),
        "my_state": str(pool.gate.state),
        "since": rfc3339(pool.since),
        "reason": pool.gate.reason,
        "peer": str(settings.peer) if settings.peer is not None else None,
        "peer_state": theirs.state if theirs is not None else str(replicator.state(pool)),
        "replication": str(replicator.state(pool)),
        "peer_since": rfc3339(pool.peer_since),
        "size": settings.size,
        "used": used,
        "free": settings.size - used,
        "refused": pool.refusal,
    }


def _leases(pool: Pool, node: str, now: float) -> list[dict[str, Any]]:
    return [_lease(pool, each, node) for each in pool.table.active(now)]


def _lease(pool: Pool, lease: Lease, node: str) -> dict[str, Any]:
    return {
        "interface": pool.settings.interface,
        "address": lease.address,
        "mac": lease.mac,
        "client_id": lease.client_id,
        "hostname": lease.hostname.rstrip("."),
        "expires": rfc3339(lease.expires),
        "state": "declined" if lease.state == DECLINED else "active",
        "static": any(each.address == IPv4Address(lease.address) for each in pool.settings.static),
        "granted_by": lease.node or node,
    }


def rfc3339(wall: float) -> str:
    """A time in seconds since 1970, as text in UTC."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
