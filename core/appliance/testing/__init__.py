"""PUBLIC. What a plugin is tested with, from one service to a cluster in virtual time.

Installed as a pytest plugin by ``pip install ha-appliance[testing]``; every name here is also a fixture
where that makes sense. Names are resolved on first use: pytest imports this package long before it is
needed, and coverage must see the product being imported later.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from appliance.testing.conformance import check_plugin as check_plugin
    from appliance.testing.harness import LogicalInterfaces as LogicalInterfaces
    from appliance.testing.harness import run_service as run_service
    from appliance.testing.lan import Lan as Lan
    from appliance.testing.lan import Port as Port
    from appliance.testing.machines import Cluster as Cluster
    from appliance.testing.machines import cluster as cluster
    from appliance.testing.machines import run_appliance as run_appliance
    from appliance.testing.netlab import LabNode as LabNode
    from appliance.testing.netlab import Netlab as Netlab
    from appliance.testing.node import RunningNode as RunningNode
    from appliance.testing.script import Script as Script
    from appliance.testing.waiting import eventually as eventually

_HOMES = {
    "Cluster": "machines",
    "cluster": "machines",
    "run_appliance": "machines",
    "check_plugin": "conformance",
    "LogicalInterfaces": "harness",
    "run_service": "harness",
    "Lan": "lan",
    "Port": "lan",
    "LabNode": "netlab",
    "Netlab": "netlab",
    "RunningNode": "node",
    "Script": "script",
    "eventually": "waiting",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
