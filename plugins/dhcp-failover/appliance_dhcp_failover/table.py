"""All leases of one pool as this node knows them: what Kea has, kept beside it so that nobody has to ask."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address

from appliance_dhcp_failover import leases
from appliance_dhcp_failover.leases import Lease
from appliance_dhcp_failover.settings import PoolSettings
from appliance_dhcp_failover.wire import PAGE_LEASES

QUIET_S = 3.0
"""Without a change, before two nodes' tables can be compared."""


DIGEST_S = 10.0
"""How long a digest is good for; leases end meanwhile, on all nodes alike."""

USED_S = 1.0
"""How long a count is good for, while nothing changes; leases end meanwhile."""


class Table:
    """Leases by address."""

    def __init__(self) -> None:
        self._leases: dict[str, Lease] = {}
        self._changed = 0.0
        self._digest: tuple[float, str] = (0.0, "")
        self._used: tuple[float, object, int] = (0.0, None, 0)

    @property
    def changed(self) -> float:
        """When the last change was, on the clock of the calls."""
        return self._changed

    def __len__(self) -> int:
        return len(self._leases)

    def get(self, address: str) -> Lease | None:
        """The lease of an address, also one that is over."""
        return self._leases.get(address)

    def put(self, lease: Lease, now: float) -> None:
        """Granted, renewed, or told by another node."""
        self._leases[lease.address] = lease
        self._changed = now

    def drop(self, address: str, now: float) -> bool:
        """Given back; whether it was there."""
        self._changed = now
        return self._leases.pop(address, None) is not None

    def replace(self, found: Iterable[Lease], now: float) -> list[Lease]:
        """Take what Kea has; returns the active ones that were not known like this.

        Kea may have changed some by itself: those that clients declined, and those that are over.
        """
        news = []
        table: dict[str, Lease] = {}
        for lease in found:
            old = self._leases.get(lease.address)
            if old is not None and not lease.node and old.is_of(lease):
                lease = leases.named(lease, old.node)
            table[lease.address] = lease
            if lease.is_active(now) and (old is None or old.state != lease.state or not old.is_of(lease)):
                news.append(lease)
        if news or table.keys() != self._leases.keys():
            self._changed = now
        self._leases = table
        return news

    def active(self, now: float) -> Iterator[Lease]:
        """Those that hold now, by address."""
        for address in sorted(self._leases, key=IPv4Address):
            lease = self._leases[address]
            if lease.is_active(now):
                yield lease

    def page(self, after: str, now: float) -> tuple[list[Lease], str]:
        """A part of the active ones, and the address that asks for the next; empty: that was all.

        Raises:
            ValueError: `after` is no address.
        """
        addresses = sorted(map(IPv4Address, self._leases))
        start = bisect_right(addresses, IPv4Address(after)) if after else 0
        chosen = addresses[start : start + PAGE_LEASES]
        found = [self._leases[str(each)] for each in chosen]
        following = str(chosen[-1]) if start + len(chosen) < len(addresses) else ""
        return [each for each in found if each.is_active(now)], following

    def used(self, pool: PoolSettings, now: float) -> int:
        """Addresses of the ranges that are in use."""
        made, ranges, value = self._used
        if ranges != pool.ranges or not self._changed < made <= now < made + USED_S:
            value = sum(
                pool.includes(IPv4Address(each.address)) for each in self._leases.values() if each.is_active(now)
            )
            self._used = (now, pool.ranges, value)
        return value

    def digest(self, now: float) -> str:
        """Of all active leases; empty while they change."""
        if now - self._changed < QUIET_S:
            return ""
        made, value = self._digest
        if not self._changed < made or now - made > DIGEST_S:
            value = leases.digest(self._leases.values(), now)
            self._digest = (now, value)
        return value
