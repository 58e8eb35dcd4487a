"""The parts of ``[outbound_nat]`` that travel to the other nodes, each with a switch of its own."""

from __future__ import annotations

from appliance.plugin import SyncSection
from appliance_outbound_nat.config import OutboundNatConfig

_PARTS = {"one_to_one": "one-to-one NAT", "port_forward": "port forwards"}
_REST = tuple(name for name in OutboundNatConfig.model_fields if name not in _PARTS)

SECTIONS = (
    SyncSection(name="outbound NAT", keys=tuple(("outbound_nat", key) for key in _REST)),
    *(SyncSection(name=name, keys=(("outbound_nat", key),)) for key, name in _PARTS.items()),
)
