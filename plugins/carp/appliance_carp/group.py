"""The group of all VHIDs: what is known, and the few moves that everything else is made of.

`machine`, `answers` and `deadlines` decide; they change states only through `take`, `bow_out`,
`become_backup` and `move`, which keep the order of effects: gate open, speak, announce, tell - and on the way
out: all farewells, hold, gate closed, tell.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from appliance_carp.cluster import Cluster
from appliance_carp.demotion import Demotion
from appliance_carp.election import Verdict, demote_byte, interval_s
from appliance_carp.schedule import Schedule
from appliance_carp.transitions import BACKUP, MASTER, RELEASING, TRANSITIONS
from appliance_carp.virtualhost import VirtualHost
from appliance_carp.vocabulary import (
    BOW_OUT_BASE,
    BOW_OUT_SKEW,
    LONE_SKEW,
    Activate,
    Announce,
    Changed,
    Count,
    Deactivate,
    Effect,
    GroupSettings,
    Heard,
    Note,
    SendAdvert,
    State,
    VhidKey,
)

ANNOUNCE_AGAIN = 2
"""Adverts until the second announcement (OpenBSD's delayed_arp): a switch that was rebooting missed the first."""

REASSERT_S = 0.25
"""Inferior adverts of a VHID are answered at most four times a second in the long run..."""
REASSERT_BURST_S = 3 * REASSERT_S
"""...but four times at once: a healing split is an advert, our answer, the parting advert, our last word."""
CHALLENGE_S = 0.1
"""Time between two looks at a group that could not be preempted; small against any interval worth waiting for."""


class Group:
    """All VHIDs of this node with what they have in common."""

    def __init__(self, settings: GroupSettings, jitter: Callable[[], float]) -> None:
        self.settings = settings
        self.jitter = jitter
        self.hosts = {each.key: VirtualHost(each) for each in settings.vhids}
        self.schedule: Schedule[VhidKey] = Schedule(lambda key: self.hosts[key].due)
        self.links: dict[str, bool] = {}
        """Bounded by the interfaces of the node."""
        self.demotion = Demotion()
        self.cluster = Cluster()
        self.maintenance = settings.maintenance
        self.enabled = True
        self.running = False
        self.ready_at = math.inf
        """No preemption before this."""
        self.resigned_until = -math.inf
        self.challenge_at = -math.inf
        """A refused preemption is not weighed again before this: it looks at every VHID, for every advert."""
        self._effects: list[Effect] = []
        self._population: Counter[State] = Counter()
        self.recount()

    # --- questions -----------------------------------------------------------------------------------------

    def in_state(self, state: State) -> list[VirtualHost]:
        """Return the VHIDs in a state, in the order of the settings."""
        return [host for host in self.hosts.values() if host.state is state]

    def has(self, state: State) -> bool:
        """Whether any VHID is in a state; cheap enough for every advert."""
        return self._population[state] > 0

    def recount(self) -> None:
        """Count the states again after VHIDs came or went."""
        self._population = Counter(host.state for host in self.hosts.values())

    def has_link(self, host: VirtualHost) -> bool:
        """Whether the interface of a VHID is known to have carrier."""
        return self.links.get(host.settings.key[0], False)

    @property
    def demote(self) -> int:
        """The demote byte as sent."""
        return demote_byte(self.demotion.total)

    def speaks_fast(self, host: VirtualHost, now: float) -> bool:
        """Whether the next advert may be a sub-second one: all who listen are known to understand it."""
        return host.settings.fast and now >= host.slow_until and self.cluster.all_fast()

    def may_follow(self, host: VirtualHost, name: str) -> bool:
        """Whether the master of a VHID may be node `name`: nothing says that it is another one."""
        known = [each for each in (self.cluster.name_of(one.source) for one in host.masters.values()) if each]
        return not name or not known or name in known

    def moves_along(self, host: VirtualHost, name: str) -> bool:
        """Whether a sibling goes where the group of node `name` goes: it may be its master, and is one of us."""
        return self.may_follow(host, name) and all(master.own_kind for master in host.masters.values())

    def outranked(self, key: VhidKey, leaver: str) -> bool:
        """Whether a node other than ours and `leaver` is the better heir of a VHID."""
        return self.cluster.outranks(key, self.demotion.total, besides=leaver)

    def rightful(self, hosts: Iterable[VirtualHost], leaver: str) -> list[VirtualHost]:
        """Leave out what a healthier third node will take; the dead timer stays as a safety net."""
        return [host for host in hosts if not self.outranked(host.settings.key, leaver)]

    def inherit(self, hosts: Iterable[VirtualHost], leaver: str, now: float, reason: str) -> None:
        """Take what `leaver` has let go and nobody else should have.

        Where another node goes before us only by its skew, it gets a moment to speak first: two masters for half
        a millisecond would be harmless, but would move the virtual MAC in the switches there and back.
        """
        heirs = []
        for host in self.rightful(hosts, leaver):
            mine = host.settings
            if self.cluster.has_elder(mine.key, mine.advskew, self.demotion.total, besides=leaver):
                host.stand_by(now)
                self.schedule.update(mine.key)
            else:
                heirs.append(host)
        self.take(heirs, now, reason)

    def was_stalled(self, host: VirtualHost, now: float) -> bool:
        """Whether we, as MASTER, were silent for so long that a BACKUP rightly took over."""
        interval = interval_s(*host.timing(self.demotion.total, fast=host.is_fast))
        return now - host.advert_at > host.settings.dead_ratio * interval

    # --- moves ---------------------------------------------------------------------------------------------

    def take(self, hosts: Iterable[VirtualHost], now: float, reason: str) -> None:
        """BACKUP to MASTER."""
        for host in hosts:
            key = host.settings.key
            self.do(Activate(key))
            host.masters.clear()
            self.advertise(host, now)
            # All VHIDs spoke at once just now; from here on each has its own phase.
            host.advert_at = now + (host.advert_at - now) * (1 - self.jitter() / 2)
            host.announce_in = ANNOUNCE_AGAIN
            host.reassert_at = -math.inf
            self.do(Announce(key))
            self.move(host, MASTER, now, reason)
        if not self.has(BACKUP):
            self.resigned_until = -math.inf  # everything came back to us: the handover is history

    def bow_out(
        self, hosts: Sequence[VirtualHost], now: float, reason: str, *, then: State, alone: bool = False
    ) -> None:
        """MASTER to RELEASING: first all farewells, so that the peer can begin, then hold."""
        for host in hosts:
            self.say_farewell(host, alone=alone)
        for host in hosts:
            host.release_at = now + self.settings.hold_s
            host.release_to = then
            self.move(host, RELEASING, now, reason)

    def become_backup(
        self,
        host: VirtualHost,
        now: float,
        reason: str,
        *,
        heard: tuple[Heard, Verdict] | None = None,
        grace_s: float = 0.0,
    ) -> None:
        """Listen; `heard` is the advert that made us, `grace_s` is added to the dead timers."""
        if host.state is MASTER or host.state is RELEASING:
            self.do(Deactivate(host.settings.key))
        host.masters.clear()
        host.arm(now)
        if heard is not None:
            host.believe(*heard, now)
        host.dead_at = {family: at + grace_s for family, at in host.dead_at.items()}
        self.move(host, BACKUP, now, reason)

    def leave(self, host: VirtualHost, state: State, now: float, reason: str) -> None:
        """Go to INIT or DISABLED at once, closing the gate when it is open."""
        if host.state is MASTER or host.state is RELEASING:
            self.do(Deactivate(host.settings.key))
        if host.state is not state:
            self.move(host, state, now, reason)

    def move(self, host: VirtualHost, new: State, now: float, reason: str) -> None:
        """Change the state and tell; the effects that make it true are already in the list."""
        old = host.state
        assert new in TRANSITIONS[old], f"{host.settings.key}: {old} to {new}"
        host.state, host.reason, host.since = new, reason, now
        self._population[old] -= 1
        self._population[new] += 1
        if new is not MASTER:
            host.is_fast = False
        self.do(Changed(host.settings.key, old, new, reason))
        self.schedule.update(host.settings.key)

    # --- speaking ------------------------------------------------------------------------------------------

    def advertise(self, host: VirtualHost, now: float) -> None:
        """Send a regular advert in each family and plan the next one."""
        host.is_fast = self.speaks_fast(host, now)
        advbase, advskew = host.timing(self.demotion.total, fast=host.is_fast)
        self._send(host, advbase, advskew)
        host.advert_at = now + interval_s(advbase, advskew)
        self.schedule.update(host.settings.key)

    def say_parting_word(self, host: VirtualHost, family: int) -> None:
        """Send one more advert, from which a better master learns that there were two; not from the virtual MAC."""
        advbase, advskew = host.timing(self.demotion.total, fast=host.is_fast)
        self.do(SendAdvert(host.settings.key, family, advbase, advskew, self.demote, parting=True))

    def say_farewell(self, host: VirtualHost, *, alone: bool) -> None:
        """Send the bow-out of a group or of a single VHID, on its network if that works, and on the sync link."""
        advskew = LONE_SKEW if alone else BOW_OUT_SKEW
        self._send(host, BOW_OUT_BASE, advskew, copy_to_sync=True, only_sync=not self.has_link(host))

    def _send(
        self, host: VirtualHost, advbase: int, advskew: int, *, copy_to_sync: bool = False, only_sync: bool = False
    ) -> None:
        demote = self.demote
        for family in sorted(host.settings.families):
            self.do(SendAdvert(host.settings.key, family, advbase, advskew, demote, copy_to_sync, only_sync))

    # --- effects -------------------------------------------------------------------------------------------

    def do(self, effect: Effect) -> None:
        """Append an effect."""
        self._effects.append(effect)

    def count(self, key: VhidKey, counter: str) -> None:
        """Append a `Count`."""
        self._effects.append(Count(key, counter))

    def note(self, event: str, **fields: str | int | float) -> None:
        """Append a `Note`."""
        self._effects.append(Note(event, fields))

    def take_effects(self) -> list[Effect]:
        """Return what has accumulated since the last call."""
        effects, self._effects = self._effects, []
        return effects
