"""The pydantic models of ``[lagg]`` and their translation into the service's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, RootModel, model_validator

from appliance.config import Config, LogicalInterface, Model, ProvidesInterfaces, Scope
from appliance.config.types import DeviceName, Mtu
from appliance.net.bonding import BondMode, BondOptions, HashPolicy
from appliance_lagg.settings import Settings, WantedLagg

MEMBERS_MAX = 16
"""Ports of one aggregation; switches take eight, and LACP's port numbers are no limit."""
LAGGS_MAX = 32
LINK_CHECK_MS = 50
"""A lost link is noticed after this long at most: it bounds what a dying switch costs."""
ANNOUNCEMENTS = 3
"""Gratuitous ARP packets when another member takes over, 50 ms apart: the first may come before the port forwards."""
UP_DELAY_S, UP_DELAY_MAX_S = 1.0, 300
DEFAULT_HASH, DEFAULT_RATE = "l4", "slow"

LaggName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,14}$")]
"""Name of a kernel device that is made."""
Protocol = Literal["lacp", "failover", "loadbalance", "roundrobin", "none"]

_MODES: Mapping[str, BondMode] = {
    "lacp": BondMode.LACP,
    "failover": BondMode.ACTIVE_BACKUP,
    "loadbalance": BondMode.XOR,
    "roundrobin": BondMode.ROUND_ROBIN,
    # Without members the mode does not matter; with this one the way back to `failover` needs no outage.
    "none": BondMode.ACTIVE_BACKUP,
}
_POLICIES: Mapping[str, HashPolicy] = {
    "l2": HashPolicy.LAYER2,
    "l3": HashPolicy.LAYER23,
    "l4": HashPolicy.LAYER34,
}
_APPLIES: Mapping[str, tuple[Protocol, ...]] = {
    "rate": ("lacp",),
    "hash": ("lacp", "loadbalance"),
    "primary": ("failover",),
    "failover_rx": ("failover",),
}


class LaggTable(Model):
    """``[lagg.NAME]``: one link aggregation."""

    members: Annotated[list[DeviceName], Field(max_length=MEMBERS_MAX), Scope.LOCAL]
    """Kernel devices; the first one gives its MAC address to the aggregation."""
    protocol: Annotated[Protocol, Scope.LOCAL]
    """How members share the work."""
    rate: Annotated[Literal["slow", "fast"] | None, Scope.LOCAL] = None
    """``lacp``: whether the partner is to speak each 30 s (``"slow"``, the default) or each second."""
    hash: Annotated[Literal["l2", "l3", "l4"] | None, Scope.LOCAL] = None
    """``lacp``, ``loadbalance``: what chooses the member: MAC addresses, also IP addresses, or those and ports."""
    primary: Annotated[DeviceName | None, Scope.LOCAL] = None
    """``failover``: the member that is used while it has a link; the default is the first."""
    failover_rx: Annotated[Literal["active", "all"] | None, Scope.LOCAL] = None
    """``failover``: whether frames are taken from the ``"active"`` member only (the default) or from ``"all"``."""
    up_delay: Annotated[float, Field(ge=0, le=UP_DELAY_MAX_S), Scope.LOCAL] = UP_DELAY_S
    """Seconds that a link has to last before it is used beside another: switches give one before they forward."""
    mtu: Annotated[Mtu | None, Scope.LOCAL] = None
    """Largest packet in bytes, for the members and the VLANs on top, too; left as it is when not given."""
    description: Annotated[str, Field(max_length=200), Scope.LOCAL] = ""
    """For people."""

    @model_validator(mode="after")
    def _keys_fit_the_protocol(self) -> Self:
        for key, protocols in _APPLIES.items():
            if getattr(self, key) is not None and self.protocol not in protocols:
                wanted = " and ".join(f'"{protocol}"' for protocol in protocols)
                raise ValueError(f'{key} is for protocol {wanted}; this one is "{self.protocol}"')
        return self


class LaggConfig(Model, RootModel[dict[LaggName, LaggTable]]):
    """``[lagg]``: link aggregations by the name of the device that is made. All of it is hardware: it never travels."""

    # A root model has no keys of its own that could be forbidden.
    model_config = ConfigDict(extra=None)

    root: Annotated[dict[LaggName, LaggTable], Field(max_length=LAGGS_MAX)]
    """Aggregations by device name."""


def settings_of(config: Config) -> Settings:
    """What the service has to see to; MTUs of ``[interfaces]`` count as well."""
    provider = config.providing(ProvidesInterfaces)
    interfaces = list(provider.logical_interfaces().values()) if provider is not None else []
    return Settings(
        laggs=tuple(_wanted(name, table, interfaces) for name, table in config[LaggConfig].root.items()),
    )


def _wanted(name: str, table: LaggTable, interfaces: list[LogicalInterface]) -> WantedLagg:
    on_it = next((each.mtu for each in interfaces if each.device == name), None)
    return WantedLagg(
        name=name,
        protocol=table.protocol,
        members=tuple(table.members),
        options=_options(table),
        primary=(table.primary or table.members[0]) if table.protocol == "failover" and table.members else "",
        hash=(table.hash or DEFAULT_HASH) if table.protocol in _APPLIES["hash"] else "",
        rate=(table.rate or DEFAULT_RATE) if table.protocol in _APPLIES["rate"] else "",
        mtu=table.mtu if table.mtu is not None else on_it,
        own_mtu=frozenset(each.device for each in interfaces if each.parent == name and each.mtu is not None),
        description=table.description,
    )


def _options(table: LaggTable) -> BondOptions:
    mode = _MODES[table.protocol]
    is_hashed = table.protocol in _APPLIES["hash"]
    return BondOptions(
        mode=mode,
        link_check_ms=LINK_CHECK_MS,
        up_delay_ms=round(table.up_delay * 1000 / LINK_CHECK_MS) * LINK_CHECK_MS,
        hash_policy=_POLICIES[table.hash or DEFAULT_HASH] if is_hashed else None,
        announcements=ANNOUNCEMENTS,
        all_active=table.failover_rx == "all",
        lacp_fast=table.rate == "fast" if table.protocol == "lacp" else None,
    )
