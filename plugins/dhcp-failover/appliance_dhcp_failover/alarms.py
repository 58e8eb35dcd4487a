"""What is wrong with DHCP, as alarms that clear themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from appliance.events import Alarm, Event, Health
from appliance.identity.remedy import PAIR
from appliance_dhcp_failover.link import CLOCKS_FAIL_S, CLOCKS_WARN_S, PeerState
from appliance_dhcp_failover.machine import State
from appliance_dhcp_failover.pool import Pool
from appliance_dhcp_failover.replicator import Replicator

KEA_FIX = "Kea is started again by itself; 'appliance show log' has what it says."


@dataclass(slots=True)
class Alarms:
    """Publishes changes only. Names come from the configuration and from paired nodes, so they are few."""

    publish: Callable[[Event], None]
    _active: dict[str, Alarm] = field(default_factory=dict)

    def follow(self, wanted: Mapping[str, Alarm]) -> None:
        """These are active now, and no others."""
        for name in self._active.keys() - wanted.keys():
            old = self._active.pop(name)
            self.publish(Alarm(key=old.key, active=False, what=old.what, fix=old.fix, health=old.health))
        for name, alarm in wanted.items():
            if self._active.get(name) != alarm:
                self._active[name] = alarm
                self.publish(alarm)

    @property
    def worst(self) -> Alarm | None:
        """The alarm that matters most."""
        failing = [each for each in self._active.values() if each.health is Health.FAIL]
        return next(iter([*failing, *self._active.values()]), None)


def judge(pools: Mapping[str, Pool], replicator: Replicator) -> dict[str, Alarm]:
    """Everything that is wrong now."""
    found: list[Alarm] = []
    for name, pool in pools.items():
        found += _pool(name, pool)
    if any(replicator.state(pool) is not PeerState.OFF for pool in pools.values()):
        found += _peers(replicator)
    return {alarm.key: alarm for alarm in found}


def _pool(name: str, pool: Pool) -> list[Alarm]:
    found = []
    if pool.gate.state is State.DOWN:
        what = f"clients on {name} get no addresses from this node: {pool.gate.reason}"
        found.append(Alarm(key=f"dhcp/{name}/down", what=what, fix=KEA_FIX, health=Health.FAIL))
    if pool.refusal:
        what = f"the configuration of {name} is not in force: {pool.refusal}"
        fix = "Correct [dhcp_failover] and commit; until then the last good configuration is served."
        found.append(Alarm(key=f"dhcp/{name}/refused", what=what, fix=fix, health=Health.FAIL))
    size = pool.settings.size
    if size and pool.table.used(pool.settings, time.time()) >= size:
        what = f"all {size} addresses of {name} are in use: new clients get none"
        fix = "Enlarge the range, shorten lease_time, or look for a client that takes many: 'appliance show dhcp'."
        found.append(Alarm(key=f"dhcp/{name}/exhausted", what=what, fix=fix, health=Health.WARN))
    return found


def _peers(replicator: Replicator) -> list[Alarm]:
    found = []
    if replicator.problem:
        what = f"leases stay on this node: {replicator.problem}"
        found.append(Alarm(key="dhcp/unpaired", what=what, fix=PAIR, health=Health.WARN))
    for name, link in replicator.links.items():
        if link.state is PeerState.UNREACHABLE:
            what = f"{name} does not take leases: {link.error}"
            fix = f"Check the sync cable and 'appliance show dhcp' on {name}; it catches up by itself."
            found.append(Alarm(key=f"dhcp/peer/{name}", what=what, fix=fix, health=Health.WARN))
        elif abs(link.skew_s) > CLOCKS_WARN_S:
            health = Health.FAIL if abs(link.skew_s) > CLOCKS_FAIL_S else Health.WARN
            what = f"the clocks of this node and {name} are {abs(link.skew_s):.0f} s apart"
            fix = "Let both nodes keep time by NTP. Leases are right all the same; their times are shown wrongly."
            found.append(Alarm(key=f"dhcp/clock/{name}", what=what, fix=fix, health=health))
    return found
