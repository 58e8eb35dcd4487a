"""Whole configurations of ``[lagg]`` and ``[interfaces]``, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.config import Config
from appliance.config.model import NodeTable
from appliance_interfaces.config import InterfacesConfig
from appliance_lagg.config import LaggConfig, settings_of
from appliance_lagg.settings import WantedLagg

BOTH = ["eth0", "eth1"]


def configured(laggs: Mapping[str, Any], **interfaces: Any) -> Config:
    """A configuration with these tables; without any interface there is no table of them."""
    tables: dict[str, Any] = {"lagg": LaggConfig.model_validate(laggs)}
    if interfaces:
        tables["interfaces"] = InterfacesConfig.model_validate(interfaces)
    return Config(tables, node=NodeTable(name="fw1"))


def wanted(protocol: str = "failover", members: list[str] | None = None, **more: Any) -> WantedLagg:
    """What the service is to see to, of one aggregation."""
    table = {"members": BOTH if members is None else members, "protocol": protocol, **more}
    return settings_of(configured({"lagg0": table})).laggs[0]
