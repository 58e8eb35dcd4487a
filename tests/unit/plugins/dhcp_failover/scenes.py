"""Pools and links as reports and alarms see them, without a Kea."""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance_dhcp_failover.link import Link, PeerState
from appliance_dhcp_failover.machine import Gate
from appliance_dhcp_failover.settings import PoolSettings
from appliance_dhcp_failover.table import Table
from appliance_dhcp_failover.wire import Hello, PoolSummary
from tests.unit.plugins.dhcp_failover.samples import NOW, pool_of


def gate(*, is_master: bool = True) -> Gate:
    """A gate of a node that serves, or stands by."""
    made = Gate(0.0, is_master=is_master)
    made.started(0.0)
    made.configured(is_master, 0.0)
    made.probed("", 0.0)
    return made


@dataclass
class FakePool:
    """What of a pool is shown."""

    settings: PoolSettings = field(default_factory=pool_of)
    gate: Gate = field(default_factory=gate)
    table: Table = field(default_factory=Table)
    since: float = NOW
    peer_since: float = NOW
    refusal: str = ""


@dataclass
class FakeReplicator:
    """What of replication is shown."""

    links: dict[str, Link] = field(default_factory=dict)
    problem: str = ""

    def state(self, pool: FakePool) -> PeerState:
        """As that of the first link."""
        return next((link.state for link in self.links.values()), PeerState.OFF)


def link(*, skew_s: float = 0.0, pulled: str = "a.0") -> Link:
    """To a node on standby that has everything."""
    made = Link("a", 0.0)
    pools = {"lan": PoolSummary(state="standby")}
    made.greeted(Hello(node="fw2", wall=0.0, epoch="b.0", pulled=pulled, pools=pools), skew_s, {}, 0.0)
    made.fetched("b.0")
    return made
