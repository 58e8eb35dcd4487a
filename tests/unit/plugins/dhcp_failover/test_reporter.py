"""Events about leases, never too many."""

from __future__ import annotations

from appliance.events import Event
from appliance_dhcp_failover.events import LeaseGranted, LeaseReleased
from appliance_dhcp_failover.reporter import PER_SECOND, Reporter
from tests.unit.plugins.dhcp_failover.samples import lease, pool_of


def test_a_flood_is_told_in_part_and_counted() -> None:
    told: list[Event] = []
    reporter = Reporter(told.append)
    for number in range(PER_SECOND + 5):
        reporter.granted(pool_of(), lease(100 + number, hostname="pc"))
    assert len(told) == PER_SECOND
    assert told[0] == LeaseGranted(
        interface="lan", address="192.168.1.100", mac="02:00:00:00:00:01", hostname="pc", lease_s=3600
    )
    reporter.tick(0.5)
    reporter.released(pool_of(), "192.168.1.100")
    assert len(told) == PER_SECOND, "not before a second has passed"
    reporter.tick(1.0)
    reporter.released(pool_of(), "192.168.1.101")
    assert told[-1] == LeaseReleased(interface="lan", address="192.168.1.101", unreported=6)
