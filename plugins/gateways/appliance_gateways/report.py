"""Gateways for people and programs: the answer of ``show gateways``. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from appliance_gateways.groups import Group, counted, is_usable, live_members, slots
from appliance_gateways.monitor import Reading
from appliance_gateways.settings import GatewaySettings, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the service knows of a gateway besides its settings."""

    reading: Reading
    reason: str
    """Why nothing is known of it, or why it is down without having been probed; empty otherwise."""
    error: str
    """Why the last probe could not be sent."""
    since: float
    """Seconds since 1970 of the last change of its status."""
    is_demoting: bool
    """This node is demoted because of it."""


def document(
    settings: Settings, seen: Mapping[str, Seen], defaults: Mapping[int, str], troubles: Mapping[str, str]
) -> dict[str, Any]:
    """What ``show gateways --json`` prints.

    Args:
        settings: The configuration.
        seen: Each gateway of it.
        defaults: The gateway of the main table's default route, by IP version.
        troubles: What does not work, and what to do about it.
    """
    readings = {name: each.reading for name, each in seen.items()}
    return {
        "gateways": [_gateway(each, settings, seen[each.name]) for each in settings.gateways],
        "groups": [_group(each, readings) for each in settings.groups],
        "defaults": [
            {"family": f"ipv{version}", "configured": settings.default(version), "gateway": defaults.get(version)}
            for version in (4, 6)
        ],
        "problems": [{"what": what, "fix": fix} for what, fix in troubles.items()],
    }


def _gateway(gateway: GatewaySettings, settings: Settings, seen: Seen) -> dict[str, Any]:
    reading = seen.reading
    return {
        "name": gateway.name,
        "interface": gateway.interface,
        "device": gateway.device,
        "addresses": [str(each) for each in gateway.addresses],
        "number": gateway.number,
        "monitor": str(gateway.target.address) if gateway.target else None,
        "status": str(reading.status),
        "reason": seen.reason,
        "error": seen.error,
        "loss": _rounded(reading.loss),
        "latency_ms": _rounded(reading.latency_ms),
        "deviation_ms": _rounded(reading.deviation_ms),
        "since": rfc3339(seen.since),
        "demoting": seen.is_demoting,
        "groups": [group.name for group in settings.groups if gateway.name in {m.gateway for m in group.members}],
    }


def _group(group: Group, readings: Mapping[str, Reading]) -> dict[str, Any]:
    tier, _live = live_members(group, readings)
    owned = counted(slots(group, readings))
    return {
        "name": group.name,
        "trigger": group.trigger,
        "sticky": group.sticky,
        "tier": tier,
        "members": [
            {
                "gateway": each.gateway,
                "tier": each.tier,
                "weight": each.weight,
                "usable": is_usable(readings.get(each.gateway, Reading()), group.trigger),
                "slots": owned.get(each.gateway, 0),
            }
            for each in group.members
        ],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def rfc3339(wall: float) -> str:
    """A time in seconds since 1970, as text in UTC."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
