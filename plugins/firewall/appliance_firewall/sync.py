"""The parts of ``[firewall]`` that travel to the other nodes, each with a switch of its own."""

from __future__ import annotations

from appliance.plugin import SyncSection
from appliance_firewall.config import FirewallConfig

_PARTS = {"rule": "firewall rules", "alias": "aliases", "schedule": "schedules"}
_SETTINGS = tuple(name for name in FirewallConfig.model_fields if name not in _PARTS)

SECTIONS = (
    *(SyncSection(name=name, keys=(("firewall", key),)) for key, name in _PARTS.items()),
    SyncSection(name="firewall settings", keys=tuple(("firewall", key) for key in _SETTINGS)),
)
