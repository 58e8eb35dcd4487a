"""The laboratory: the example cluster in network namespaces, with faults, probes and a demonstration.

`Lab` is what tests, drills and benchmarks use; it is loaded on first use, because every node's small
init process imports this package too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from appliance.lab.config import NodeSettings as NodeSettings
    from appliance.lab.config import Vip as Vip
    from appliance.lab.lab import Lab as Lab
    from appliance.lab.plan import Software as Software
    from appliance.lab.topology import Topology as Topology

_HOMES = {
    "Lab": "appliance.lab.lab",
    "NodeSettings": "appliance.lab.config",
    "Software": "appliance.lab.plan",
    "Topology": "appliance.lab.topology",
    "Vip": "appliance.lab.config",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(home), name)
