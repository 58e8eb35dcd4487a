"""Tells granted leases as events, but never more than a bus wants to hear."""

from __future__ import annotations

from collections.abc import Callable

from appliance.events import Event
from appliance_dhcp_failover.events import LeaseGranted, LeaseReleased
from appliance_dhcp_failover.leases import Lease
from appliance_dhcp_failover.settings import PoolSettings

PER_SECOND = 10


class Reporter:
    """At most `PER_SECOND` events; the next one that is told says how many were not.

    Args:
        publish: Tells an event.
    """

    def __init__(self, publish: Callable[[Event], None]) -> None:
        self._publish = publish
        self._left = PER_SECOND
        self._unreported = 0
        self._ticked = 0.0

    def tick(self, now: float) -> None:
        """To be called every now and then."""
        if now - self._ticked >= 1.0:
            self._ticked = now
            self._left = PER_SECOND

    def granted(self, pool: PoolSettings, lease: Lease) -> None:
        """A client got an address, or kept it."""
        if self._may_tell():
            self._publish(
                LeaseGranted(
                    interface=pool.interface,
                    address=lease.address,
                    mac=lease.mac,
                    hostname=lease.hostname,
                    lease_s=lease.valid_s,
                    unreported=self._told(),
                )
            )

    def released(self, pool: PoolSettings, address: str) -> None:
        """An address is free again."""
        if self._may_tell():
            self._publish(LeaseReleased(interface=pool.interface, address=address, unreported=self._told()))

    def _may_tell(self) -> bool:
        if self._left <= 0:
            self._unreported += 1
            return False
        self._left -= 1
        return True

    def _told(self) -> int:
        unreported, self._unreported = self._unreported, 0
        return unreported
