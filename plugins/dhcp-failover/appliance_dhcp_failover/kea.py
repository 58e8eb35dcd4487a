"""What Kea is told: a pool's settings as Kea's JSON. Pure.

One Kea per interface, so that roles, configuration and crashes of one do not touch another. Each has one subnet, number
`SUBNET_ID`. Whether it hears anybody is part of its configuration: a standby has no interface, the MASTER the device of
the virtual MAC with the virtual address as its own. Clients therefore know one server, and a renewal that is sent to
it is answered by whichever node is MASTER.

Kea's high-availability hook is only used for what it does before it lets an answer go: it asks us, and waits. In the
mode "passive-backup" with ``wait-backup-ack`` the "backup" is this plugin (`hook`), and an answer that is not
acknowledged is never sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance_dhcp_failover.settings import PoolSettings, StaticLease

SUBNET_ID = 1
CONTROL_SOCKET = "kea.sock"
"""In the pool's directory, which is Kea's working directory: a path from the root may be too long for a socket."""
LEASE_FILE = "leases4.csv"
LFC_S = 3600
"""How often Kea rewrites its lease file without what is outdated."""
THREADS, QUEUED_PACKETS = 4, 64
QUESTIONS = 16
"""Leases that Kea asks about at the same time: a busy node answers each one late, but all of them together."""
HOOKS = Path("/usr/lib/x86_64-linux-gnu/kea/hooks")
DECLINED_S = 3600
"""How long an address that a client found in use is left alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where Kea asks before it answers a client."""

    port: int
    password: str


def configuration(pool: PoolSettings, endpoint: Endpoint, *, directory: Path, hooks: Path, serving: bool) -> Any:
    """The whole configuration.

    Args:
        pool: What is served.
        endpoint: Of this node's `hook`.
        directory: Of the pool; Kea keeps its leases there.
        hooks: Where Kea's libraries are.
        serving: Whether it hears clients.
    """
    return {
        "Dhcp4": {
            "interfaces-config": {
                "interfaces": [f"{pool.device}/{pool.address}"] if serving else [],
                "dhcp-socket-type": "raw",
                # Its address is younger than Kea.
                "re-detect": True,
            },
            "control-socket": {"socket-type": "unix", "socket-name": CONTROL_SOCKET},
            "lease-database": {
                "type": "memfile",
                "persist": True,
                "name": str(directory / LEASE_FILE),
                "lfc-interval": LFC_S,
            },
            # With one thread Kea asks about one lease after the other, and each one waits for the way to the peer.
            "multi-threading": {
                "enable-multi-threading": True,
                "thread-pool-size": THREADS,
                "packet-queue-size": QUEUED_PACKETS,
            },
            "authoritative": True,
            "decline-probation-period": DECLINED_S,
            "host-reservation-identifiers": ["hw-address", "client-id"],
            "hooks-libraries": _hooks(endpoint, hooks),
            "subnet4": [_subnet(pool)],
            "loggers": [
                {
                    "name": "kea-dhcp4",
                    "severity": "WARN",
                    "output_options": [{"output": "stdout", "flush": True, "pattern": "%p %m\n"}],
                }
            ],
        }
    }


def _hooks(endpoint: Endpoint, hooks: Path) -> list[dict[str, Any]]:
    ask_us = {
        "this-server-name": "kea",
        "mode": "passive-backup",
        "wait-backup-ack": True,
        "multi-threading": {
            "enable-multi-threading": True,
            "http-dedicated-listener": False,
            "http-client-threads": QUESTIONS,
        },
        "peers": [
            # Kea never calls itself; the URL only has to be one.
            {"name": "kea", "url": "http://127.0.0.1:1/", "role": "primary"},
            {
                "name": "appliance",
                "url": f"http://127.0.0.1:{endpoint.port}/",
                "role": "backup",
                "basic-auth-user": "kea",
                "basic-auth-password": endpoint.password,
            },
        ],
    }
    return [
        {"library": str(hooks / "libdhcp_lease_cmds.so")},
        {"library": str(hooks / "libdhcp_stat_cmds.so")},
        {"library": str(hooks / "libdhcp_ha.so"), "parameters": {"high-availability": [ask_us]}},
    ]


def _subnet(pool: PoolSettings) -> dict[str, Any]:
    known = {"client-class": "KNOWN"} if pool.deny_unknown else {}
    boot: dict[str, str] = {}
    if pool.next_server is not None:
        boot["next-server"] = str(pool.next_server)
    if pool.boot_file:
        boot["boot-file-name"] = pool.boot_file
    return {
        "id": SUBNET_ID,
        "subnet": str(pool.subnet),
        "pools": [{"pool": f"{first} - {last}", **known} for first, last in pool.ranges],
        # Bytes with ``always-send`` off: a client gets what it asks for, as RFC 2131 §4.3.1 has it.
        "option-data": [
            {"code": each.code, "space": "dhcp4", "csv-format": False, "data": each.data.hex()} for each in pool.options
        ],
        "reservations": [_reservation(each) for each in pool.static],
        "reservations-in-subnet": True,
        "min-valid-lifetime": min(60, pool.lease_s),
        "valid-lifetime": pool.lease_s,
        "max-valid-lifetime": pool.max_lease_s,
        # RFC 2131 §4.4.5: half and seven eighths, of the lease that the client really gets.
        "calculate-tee-times": True,
        "t1-percent": 0.5,
        "t2-percent": 0.875,
        **boot,
    }


def _reservation(static: StaticLease) -> dict[str, str]:
    made = {"ip-address": str(static.address)}
    if static.mac:
        made["hw-address"] = static.mac
    else:
        made["client-id"] = static.client_id
    if static.hostname:
        made["hostname"] = static.hostname
    return made
