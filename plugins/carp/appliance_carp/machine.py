"""The election: all VHIDs of this node as one group, without input or output.

Theory of operation
===================

**Shape.** The service calls one method per thing that happened (an advert, a link, a timer, a command) with
the monotonic time, performs the returned effects in order, and sleeps until `next_deadline()`. Nothing here
reads a clock, knows an address to configure, or waits. Peers' nonsense never gets this far: an advert reaches
`receive` only after checksum, TTL, digest and `stamp.Witness` were content with it.

**States.** `transitions.TRANSITIONS` lists every allowed move of one VHID, `transitions.ON_ADVERT` what an advert
does in each state; `election.judge` decides what an advert *is*, `answers` what follows. A MASTER sends adverts; a
BACKUP arms a dead timer per family with each advert it hears. A VHID never goes from INIT to MASTER: whoever starts
listens for one dead interval, or until it hears a master. It is MASTER from `Activate` to `Deactivate`; RELEASING
lies within (bow-out sent, still forwarding for `hold_s` so that the network has learned the new place before the
old one goes deaf).

**Group.** Traffic enters by one interface and leaves by another, so a half-moved group is an outage with two
healthy nodes. What moves one VHID moves its siblings:

- A MASTER that gets sicker (a link, a monitor, maintenance) while a living peer is healthier bows out of all
  VHIDs that such a peer serves, at once, copies on the sync link. If nobody is healthier it stays MASTER on
  what works: its adverts say skew 240 (FreeBSD's way) and demote byte (ours), so anybody better may come.
- One bow-out (255/255) from the master takes all siblings along. A VHID that leaves alone (its interface died
  while nobody could take the rest; it was removed from the configuration) says 255/254: every CARP takes
  that one over, and our own nodes leave the siblings where they are.
- Of several nodes that could inherit from a leaver, the one whose skew is the lowest (the hellos tell) takes the
  VHID at once; the others give it a moment (`STAND_BY_S`) before they do.
- The same for a peer proven dead, for a master that is more demoted, and for preemption: the group or nothing.
- A dead *timer* is weaker evidence: perhaps only this network lost its multicast. It moves the VHID itself
  and those siblings that have missed an advert too (silent for 1.5 intervals). Of a dead node all siblings
  have; those whose master is still talking stay, they would only be taken away again.
- The same holds within a VHID: one silent family proves nothing while the other is heard.

**Why it settles.** Every takeover against a living own-kind master needs a strict order (demote byte, interval,
source address) that both nodes compute from the same numbers, so it has no way back. Sickness moves the group
only to somebody strictly healthier. A split group (two nodes lost different links, both came back) is reunited
by the node that goes before the other on every VHID it is missing, whether or not `preempt` is set. Answers to
inferior adverts are rate-limited, so two nodes that disagree for ever (one is deaf) stay cheap.

**Two masters at once** (split brain, a wrong timeout). The better one answers each inferior advert by an advert
and an announcement. The worse one yields, and says so with one parting advert, for two reasons: the better one
may not have heard of the split at all, and has to re-announce everything; and ucarp behaves the same. A MASTER
that itself was stalled for longer than the dead interval (SIGSTOP, a paused machine) has lost its role without
noticing: it yields to the first advert it finds, without a word, and the role stays where it is. If it finds
none it simply speaks, and the answer decides within one advert.

**Own stalls.** A dead timer served late says that *we* were away, not the master. It is re-armed for one more
interval, twice in a row at most, so that a node that is always late still serves.

**Where things are.** `vocabulary` (values), `transitions` (tables), `election` (comparisons), `virtualhost` (one
VHID), `group` (moves), `answers` (adverts), `deadlines` (time); here: life, sickness, peers, reconfiguration.

**Bounds.** One record per VHID, at most one master per family, `cluster.PEERS_MAX` peers,
`demotion.REASONS_MAX` reasons; every advert heard causes at most a constant number of effects per VHID.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from appliance_carp.answers import answer
from appliance_carp.deadlines import serve
from appliance_carp.election import demote_byte
from appliance_carp.group import Group
from appliance_carp.transitions import BACKUP, DISABLED, INIT, MASTER, ON_ADVERT, RELEASING, TRANSITIONS
from appliance_carp.virtualhost import VirtualHost
from appliance_carp.vocabulary import (
    Activate,
    Announce,
    Changed,
    Count,
    Deactivate,
    Effect,
    GroupSettings,
    Heard,
    Note,
    PeerView,
    Report,
    SendAdvert,
    State,
    VhidKey,
    VhidSettings,
)

__all__ = [
    "ON_ADVERT",
    "RESIGN_S",
    "TRANSITIONS",
    "Activate",
    "Announce",
    "Changed",
    "Count",
    "Deactivate",
    "Effect",
    "GroupSettings",
    "Heard",
    "Machine",
    "Note",
    "PeerView",
    "Report",
    "SendAdvert",
    "State",
    "VhidKey",
    "VhidSettings",
]

RESIGN_S = 3600.0
"""A node that handed over on request does not take back before this, unless told with `reclaim`."""


class Machine:
    """Call one method per thing that happened, perform the effects in order, then sleep until `next_deadline()`."""

    def __init__(self, settings: GroupSettings, *, jitter: Callable[[], float]) -> None:
        """Make a machine that does nothing yet.

        Args:
            settings: Which VHIDs, how they behave.
            jitter: Returns a number in 0..1; spreads the phases of the VHIDs over their intervals.
        """
        self._group = Group(settings, jitter)
        self._stopping = False
        self._refresh_own_reasons()

    # --- what can be asked ---------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether everything is released after `stop`."""
        return self._stopping and not self._group.has(RELEASING)

    @property
    def demotion(self) -> int:
        """The sum of all reasons."""
        return self._group.demotion.total

    @property
    def reasons(self) -> Mapping[str, int]:
        """Every reason with its weight: external ones, ``link:<interface>``, ``maintenance``."""
        return self._group.demotion.reasons

    @property
    def resigned(self) -> bool:
        """Whether a handover on request is in force; its time limit is looked at only when it matters."""
        return self._group.resigned_until > -math.inf

    def next_deadline(self) -> float | None:
        """Return when `tick` wants to be called."""
        return self._group.schedule.next()

    def best_peer(self) -> PeerView | None:
        """Return the healthy peer that could take everything this node is MASTER of."""
        return self._group.cluster.best((host.settings.key for host in self._group.in_state(MASTER)), self.demotion)

    def report(self, key: VhidKey) -> Report:
        """Tell about one VHID."""
        host = self._group.hosts[key]
        advbase, advskew = host.timing(self.demotion, fast=host.is_fast)
        master = next((host.masters[family] for family in sorted(host.masters)), None)
        source = master.source if master is not None and host.state is BACKUP else ""
        return Report(
            key=key,
            state=host.state,
            reason=host.reason,
            since=host.since,
            master=source,
            peer=self._group.cluster.name_of(source),
            advbase=advbase,
            advskew=advskew,
            demote=self._group.demote,
            fast=host.is_fast,
            dead_at=host.due if host.state is BACKUP else None,
        )

    def reports(self) -> tuple[Report, ...]:
        """Tell about all VHIDs, in the order of the settings."""
        return tuple(self.report(each.key) for each in self._group.settings.vhids)

    # --- adverts and time ----------------------------------------------------------------------------------

    def receive(self, heard: Heard, now: float) -> list[Effect]:
        """Take one authenticated advert of another node."""
        answer(self._group, heard, now)
        return self._group.take_effects()

    def tick(self, now: float) -> list[Effect]:
        """Serve every deadline that has come. Drain the socket first: a waiting advert is not a dead master."""
        serve(self._group, now)
        return self._group.take_effects()

    # --- life ----------------------------------------------------------------------------------------------

    def start(self, now: float) -> list[Effect]:
        """Begin to listen; nothing is MASTER before one dead interval has passed."""
        group = self._group
        group.running = True
        group.ready_at = now + group.settings.preempt_delay_s
        for host in group.hosts.values():
            if group.enabled:
                self._wake(host, now, "started")
            else:
                self._rest(host, DISABLED, now, "disabled")
        return group.take_effects()

    def stop(self, now: float) -> list[Effect]:
        """Bow out of everything; keep calling `tick` until `closed`."""
        self._stopping = True
        self._group.running = False
        return self._quit(INIT, now, "stopped")

    def set_enabled(self, on: bool, now: float) -> list[Effect]:
        """Switch this node's part in the election off (bow-out first) or on again."""
        group = self._group
        if on == group.enabled:
            return []
        group.enabled = on
        if not group.running:
            return []
        if not on:
            return self._quit(DISABLED, now, "disabled")
        group.ready_at = now + group.settings.preempt_delay_s
        for host in group.hosts.values():
            self._wake(host, now, "enabled")
        return group.take_effects()

    def _quit(self, state: State, now: float, reason: str) -> list[Effect]:
        """Bow out of what we are MASTER of; everything ends in `state`."""
        group = self._group
        group.bow_out(group.in_state(MASTER), now, reason, then=state)
        for host in group.hosts.values():
            self._rest(host, state, now, reason)
        return group.take_effects()

    def _wake(self, host: VirtualHost, now: float, reason: str) -> None:
        """Let a VHID listen if node and interface allow it."""
        group = self._group
        if not (group.running and group.enabled):
            return
        if host.state is RELEASING:
            host.release_to = BACKUP
        elif host.state in (INIT, DISABLED):
            if group.has_link(host):
                group.become_backup(host, now, reason)
            else:
                group.leave(host, INIT, now, "interface has no link")

    def _rest(self, host: VirtualHost, state: State, now: float, reason: str) -> None:
        """End in INIT or DISABLED; what is being released ends there after its hold time."""
        if host.state is RELEASING:
            host.release_to = state
        else:
            self._group.leave(host, state, now, reason)

    # --- sickness ------------------------------------------------------------------------------------------

    def set_link(self, interface: str, up: bool, now: float) -> list[Effect]:
        """Tell the carrier of an interface. Until told, an interface has no link and is no reason to be demoted."""
        group = self._group
        if group.links.get(interface) == up:
            return []
        group.links[interface] = up
        hosts = [host for key, host in group.hosts.items() if key[0] == interface]
        before = self.demotion
        self._refresh_own_reasons()
        reason = f"interface {interface} has link" if up else f"interface {interface} lost its link"
        group_left = self._demotion_moved(before, now, reason)
        if up and hosts and group.running:
            group.ready_at = max(group.ready_at, now + group.settings.preempt_delay_s)
        for host in hosts:
            if up:
                self._wake(host, now, reason)
            else:
                self._lose_link(host, now, reason, alone=not group_left)
        return group.take_effects()

    def forget_link(self, interface: str) -> None:
        """Its device is another one from now on, or it is not ours any more: as if its carrier was never told."""
        self._group.links.pop(interface, None)

    def _lose_link(self, host: VirtualHost, now: float, reason: str, *, alone: bool) -> None:
        group = self._group
        if host.state is MASTER:
            group.say_farewell(host, alone=alone)  # the sync link still works
        if host.state is RELEASING and host.release_to is DISABLED:
            group.leave(host, DISABLED, now, host.reason)
        elif host.state is not DISABLED:
            group.leave(host, INIT, now, reason)

    def set_reasons(self, reasons: Mapping[str, int], now: float) -> list[Effect]:
        """Replace the demotion reasons that come from outside (monitors, a bulk update, the operator)."""
        before = self.demotion
        self._group.demotion.set_external(reasons)
        self._demotion_moved(before, now, "demoted by " + ", ".join(sorted(reasons)))
        return self._group.take_effects()

    def set_maintenance(self, on: bool, now: float) -> list[Effect]:
        """Make this node the last choice, or a normal one again."""
        before = self.demotion
        self._group.maintenance = on
        self._refresh_own_reasons()
        self._demotion_moved(before, now, "maintenance")
        return self._group.take_effects()

    def _refresh_own_reasons(self) -> None:
        group = self._group
        used = {key[0] for key in group.hosts}
        down = [interface for interface, up in group.links.items() if not up and interface in used]
        group.demotion.set_own(down, maintenance=group.maintenance)

    def _demotion_moved(self, before: int, now: float, reason: str) -> bool:
        """Act on a changed total; whether the whole working group bowed out."""
        group, total = self._group, self.demotion
        if total == before or not group.running:
            return False
        group.note("demotion_changed", total=total, before=before, reasons=" ".join(self.reasons))
        if not total:
            group.ready_at = max(group.ready_at, now + group.settings.preempt_delay_s)
        working = [host for host in group.in_state(MASTER) if group.has_link(host)]
        leaving: list[VirtualHost] = []
        if demote_byte(total) > demote_byte(before):
            leaving = [host for host in working if group.outranked(host.settings.key, "")]
            group.bow_out(leaving, now, reason, then=BACKUP, alone=len(leaving) < len(working))
            if working and not leaving:
                group.note("nobody_healthier", reason=reason)
        for host in working:
            if host.state is MASTER:
                group.advertise(host, now)  # FreeBSD's way: whoever is better hears of it at once
        return bool(leaving) and len(leaving) == len(working)

    # --- peers ---------------------------------------------------------------------------------------------

    def set_peers(self, views: Sequence[PeerView], now: float) -> list[Effect]:
        """Replace what the hellos say about the other nodes."""
        group = self._group
        had = bool(group.cluster.healthier(self.demotion))
        group.cluster.replace(views)
        invite = not had and bool(group.cluster.healthier(self.demotion))
        for host in group.in_state(MASTER):
            # A healthier node has appeared: do not make it wait for the next advert to find out about us.
            if invite or host.is_fast != group.speaks_fast(host, now):
                group.advertise(host, now)
        return group.take_effects()

    def resign(self, now: float, *, reason: str, for_s: float = RESIGN_S) -> list[Effect]:
        """Hand everything over, and take nothing back for a while. Ask `best_peer` first."""
        group = self._group
        group.resigned_until = now + for_s
        group.bow_out(group.in_state(MASTER), now, reason, then=BACKUP)
        return group.take_effects()

    def reclaim(self, now: float) -> list[Effect]:
        """End a resignation; whether the group comes back is decided by the usual rules at the next advert."""
        self._group.resigned_until = -math.inf
        self._group.note("reclaimed", at=now)
        return self._group.take_effects()

    def peer_died(self, now: float, *, reason: str, name: str = "") -> list[Effect]:
        """Take over from a node that was proven dead; `name` "" means whoever is master."""
        group = self._group
        heirs = [host for host in group.in_state(BACKUP) if group.may_follow(host, name)]
        group.inherit(heirs, name, now, reason)
        return group.take_effects()

    # --- reconfiguration -----------------------------------------------------------------------------------

    def reconfigure(self, settings: GroupSettings, now: float) -> list[Effect]:
        """Take new settings; what did not change is not touched, changed timing keeps the state."""
        group = self._group
        old, group.settings = group.settings, settings
        before = self.demotion
        wanted = {each.key: each for each in settings.vhids}
        for host in [host for key, host in group.hosts.items() if key not in wanted]:
            self._remove(host, now)
        added = [key for key in wanted if key not in group.hosts]
        changed = [key for key in wanted if key in group.hosts and group.hosts[key].settings != wanted[key]]
        group.hosts = {key: group.hosts.get(key) or VirtualHost(each) for key, each in wanted.items()}
        group.recount()
        for key in changed:
            self._retime(group.hosts[key], wanted[key], now)
        if settings.maintenance != old.maintenance:
            group.maintenance = settings.maintenance
        self._refresh_own_reasons()
        self._demotion_moved(before, now, "reconfigured")
        for key in added:
            if group.running and not group.enabled:
                self._rest(group.hosts[key], DISABLED, now, "disabled")
            self._wake(group.hosts[key], now, "added")
        return group.take_effects()

    def rekey(self, moved: Mapping[VhidKey, VhidKey]) -> None:
        """Know virtual hosts by other keys from now on; their states, timers and masters stay as they are.

        Nothing is sent; the next advert of a MASTER comes when it is due, and says the new key.
        """
        group = self._group
        hosts = list(group.hosts.values())
        for host in hosts:
            key = host.settings.key
            if key in moved:
                group.schedule.forget(key)
                host.settings = replace(host.settings, key=moved[key])
        group.hosts = {host.settings.key: host for host in hosts}
        group.settings = replace(group.settings, vhids=tuple(host.settings for host in hosts))
        for key in moved.values():
            group.schedule.update(key)

    def _remove(self, host: VirtualHost, now: float) -> None:
        if host.state is MASTER:
            self._group.say_farewell(host, alone=True)
        self._group.leave(host, INIT, now, "removed")
        self._group.schedule.forget(host.settings.key)

    def _retime(self, host: VirtualHost, settings: VhidSettings, now: float) -> None:
        families_changed = host.settings.families != settings.families
        host.settings = settings
        if host.state is MASTER:
            self._group.advertise(host, now)
        elif host.state is BACKUP and (families_changed or not host.masters):
            host.masters = {family: host.masters[family] for family in host.masters if family in settings.families}
            host.arm(now)
        self._group.schedule.update(settings.key)
