"""What the lagg service has to see to, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.net.bonding import BondMode, BondOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedLagg:
    """One link aggregation."""

    name: str
    """Its kernel device."""
    protocol: str
    """As configured: ``lacp``, ``failover``, ``loadbalance``, ``roundrobin``, ``none``."""
    members: tuple[str, ...]
    """Devices, in the order of the file."""
    options: BondOptions
    """Of the bond; without the primary member, whose index is the kernel's."""
    primary: str = ""
    """The member that carries everything while it has a link; empty where all do."""
    hash: str = ""
    """As configured, for people; empty where nothing is hashed."""
    rate: str = ""
    mtu: int | None = None
    own_mtu: frozenset[str] = frozenset()
    """VLAN devices on top that are given an MTU of their own."""
    description: str = ""

    @property
    def carriers(self) -> tuple[str, ...]:
        """Members that belong into the bond: with protocol ``none`` there are none."""
        return () if self.protocol == "none" else self.members

    @property
    def is_lacp(self) -> bool:
        """Whether there is a partner to speak with."""
        return self.options.mode is BondMode.LACP


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of them, in file order."""

    laggs: tuple[WantedLagg, ...] = field(default=())
