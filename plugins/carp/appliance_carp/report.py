"""The answer to `show carp --json`; the shape is promised in the documentation and tested."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from appliance_carp.host import VirtualHost
from appliance_carp.station import ROLES, Station
from appliance_carp.vocabulary import Report


def report(station: Station, now: float) -> dict[str, Any]:
    """Everything `show carp` tells."""
    machine = station.machine
    wall = time.time()
    return {
        "node": station.settings.node,
        "enabled": station.enabled,
        "maintenance": station.maintenance,
        "resigned": machine.resigned,
        "demotion": machine.demotion,
        "reasons": [
            {"name": name, "weight": weight, "since": rfc3339(station.herald.since.get(name, wall))}
            for name, weight in sorted(machine.reasons.items())
        ],
        "waiting_for": [{"node": name, "why": why} for name, why in sorted(station.staging.waiting.items())],
        "vips": [_vip(station.hosts[each.key], each, now, wall) for each in machine.reports()],
        "nodes": [_node(station, name) for name in sorted(station.herald.peers.names())],
    }


def _vip(host: VirtualHost, state: Report, now: float, wall: float) -> dict[str, Any]:
    vip = host.settings
    return {
        "name": vip.name,
        "interface": vip.interface,
        "vhid": vip.vhid,
        "state": str(ROLES[state.state]),
        "addresses": [str(each) for each in vip.addresses],
        "aliases": [str(each) for each in vip.aliases],
        "staged": _staged(host),
        "advbase": state.advbase,
        "advskew": state.advskew,
        "mac": vip.mac,
        "since": rfc3339(wall - (now - state.since)),
        "reason": state.reason,
        "peers": [
            {"address": source, "advskew": seen.advskew, "last_seen_ms": round((now - seen.at) * 1000)}
            for source, seen in sorted(host.seen.items())
        ],
        "counters": dict(host.counters),
    }


def _node(station: Station, name: str) -> dict[str, Any]:
    """What another node has said last of its own virtual hosts."""
    peers = station.herald.peers
    states = [
        {"interface": interface, "vhid": vhid, "state": str(ROLES[state])}
        for (interface, vhid), state in sorted(peers.states_of(name).items())
    ]
    return {"name": name, "alive": name not in peers.silent(), "states": states}


def _staged(host: VirtualHost) -> dict[str, Any] | None:
    """What is going to be in force; of the password only whether it is another one."""
    wanted = host.wanted
    if not host.transaction.is_open:
        return None
    return {
        "vhid": wanted.vhid,
        "addresses": [str(each) for each in wanted.addresses],
        "aliases": [str(each) for each in wanted.aliases],
        "password": wanted.password != host.settings.password,
    }


def rfc3339(unix_time: float) -> str:
    """Seconds since 1970 as RFC 3339 text in UTC, to the millisecond."""
    return datetime.fromtimestamp(unix_time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
