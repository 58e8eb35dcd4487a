"""The election: all VHIDs of this node as one group, without input or output.

Theory of operation
===================

**Shape.** The service calls one method per thing that happened (an advert, a link, a timer, a command) with
the monotonic time, performs the returned effects in order, and sleeps until `next_deadline()`. Nothing here
reads a clock, knows an address to configure, or waits. Peers' nonsense never gets this far: an advert reaches
`receive` only after checksum, TTL, digest and `stamp.Witness` were content with it.

**States.** `TRANSITIONS` lists every allowed move of one VHID, `ON_ADVERT` what an advert does in each state;
`election.judge` decides what an advert *is*. A MASTER sends adverts; a BACKUP arms a dead timer per family
with each advert it hears. A VHID never goes from INIT to MASTER: whoever starts listens for one dead interval.
It is MASTER from `Activate` to `Deactivate`; RELEASING lies within (bow-out sent, still forwarding for `hold_s`
so that the network has learned the new place before the old one goes deaf).

**Group.** Traffic enters by one interface and leaves by another, so a half-moved group is an outage with two
healthy nodes. What moves one VHID moves its siblings:

- A MASTER that gets sicker (a link, a monitor, maintenance) while a living peer is healthier bows out of all
  VHIDs that such a peer serves, at once, copies on the sync link. If nobody is healthier it stays MASTER on
  what works: its adverts say skew 240 (FreeBSD's way) and demote byte (ours), so anybody better may come.
- One bow-out (255/255) from the master takes all siblings along. A VHID that leaves alone (its interface died
  while nobody could take the rest; it was removed from the configuration) says 255/254: every CARP takes
  that one over, and our own nodes leave the siblings where they are.
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

**Bounds.** One record per VHID, at most one master per family, `cluster.PEERS_MAX` peers,
`demotion.REASONS_MAX` reasons; every advert heard causes at most a constant number of effects per VHID.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from appliance_carp.cluster import Cluster
from appliance_carp.demotion import Demotion
from appliance_carp.election import Verdict, demote_byte, interval_s, judge
from appliance_carp.schedule import Schedule
from appliance_carp.virtualhost import FORGIVEN_MAX, VirtualHost
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
REASSERT_S = 0.25
"""Inferior adverts of a VHID are answered at most four times a second."""
ANNOUNCE_AGAIN = 2
"""Adverts until the second announcement (OpenBSD's delayed_arp): a switch that was rebooting missed the first."""
SLOW_MEMORY_S = 10.0
"""After a normal advert of our own kind we speak slowly for so long; the hellos will have settled by then."""
FOREIGN_MEMORY_S = 3600.0
"""A foreign peer is silent as BACKUP and may be listening for long after it was last heard."""

INIT, BACKUP, MASTER = State.INIT, State.BACKUP, State.MASTER
RELEASING, DISABLED = State.RELEASING, State.DISABLED

TRANSITIONS: Mapping[State, Mapping[State, str]] = {
    INIT: {
        BACKUP: "started with link, or the link came up: listen first",
        DISABLED: "switched off",
    },
    BACKUP: {
        MASTER: "dead timer, bow-out, peer proven dead, master more demoted, preemption",
        INIT: "link lost, stopped, removed",
        DISABLED: "switched off",
    },
    MASTER: {
        BACKUP: "a better master was heard",
        RELEASING: "bowed out: sicker than a peer, resigned, stopped, switched off",
        INIT: "link lost, removed",
    },
    RELEASING: {
        BACKUP: "hold time over",
        INIT: "hold time over while stopping, or link lost",
        DISABLED: "hold time over while switching off",
    },
    DISABLED: {
        BACKUP: "switched on with link",
        INIT: "switched on without link, stopped, removed",
    },
}
"""Every allowed move of one VHID and what causes it."""

ON_ADVERT: Mapping[tuple[State, Verdict], str] = {
    (MASTER, Verdict.BETTER): "yield",
    (MASTER, Verdict.EQUAL): "yield",
    (MASTER, Verdict.WORSE): "reassert",
    (MASTER, Verdict.MORE_DEMOTED): "reassert",
    (MASTER, Verdict.LEAVING): "reassert",
    (MASTER, Verdict.BOW_OUT): "reassert",
    (BACKUP, Verdict.BETTER): "follow",
    (BACKUP, Verdict.EQUAL): "follow",
    (BACKUP, Verdict.WORSE): "challenge",
    (BACKUP, Verdict.MORE_DEMOTED): "relieve",
    (BACKUP, Verdict.LEAVING): "succeed",
    (BACKUP, Verdict.BOW_OUT): "succeed",
}
"""What an advert does; in all other states it does nothing. The names are methods ``_on_<name>``."""


class Machine:
    """Call one method per thing that happened, perform the effects in order, then sleep until `next_deadline()`."""

    def __init__(self, settings: GroupSettings, *, jitter: Callable[[], float]) -> None:
        """Make a machine that does nothing yet.

        Args:
            settings: Which VHIDs, how they behave.
            jitter: Returns a number in 0..1; spreads the phases of the VHIDs over their intervals.
        """
        self._settings = settings
        self._jitter = jitter
        self._hosts = {each.key: VirtualHost(each) for each in settings.vhids}
        self._schedule: Schedule[VhidKey] = Schedule(lambda key: self._hosts[key].due)
        self._links: dict[str, bool] = {}
        self._demotion = Demotion()
        self._cluster = Cluster()
        self._maintenance = settings.maintenance
        self._running = False
        self._stopping = False
        self._enabled = True
        self._resigned_until = -math.inf
        self._ready_at = math.inf
        self._effects: list[Effect] = []
        self._refresh_own_reasons()

    # --- what can be asked ---------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether everything is released after `stop`."""
        return self._stopping and not self._in(RELEASING)

    @property
    def demotion(self) -> int:
        """The sum of all reasons."""
        return self._demotion.total

    @property
    def reasons(self) -> Mapping[str, int]:
        """Every reason with its weight: external ones, ``link:<interface>``, ``maintenance``."""
        return self._demotion.reasons

    @property
    def resigned(self) -> bool:
        """Whether a planned handover still keeps this node from taking back (checked when it matters)."""
        return self._resigned_until > -math.inf

    def next_deadline(self) -> float | None:
        """Return when `tick` wants to be called."""
        return self._schedule.next()

    def best_peer(self) -> PeerView | None:
        """Return the healthy peer that could take everything this node is MASTER of."""
        return self._cluster.best((host.settings.key for host in self._in(MASTER)), self.demotion)

    def report(self, key: VhidKey) -> Report:
        """Tell about one VHID."""
        host = self._hosts[key]
        advbase, advskew = host.timing(self.demotion, fast=host.is_fast)
        master = next((host.masters[family] for family in sorted(host.masters)), None)
        source = master.source if master is not None and host.state is BACKUP else ""
        return Report(
            key=key,
            state=host.state,
            reason=host.reason,
            since=host.since,
            master=source,
            peer=self._cluster.name_of(source),
            advbase=advbase,
            advskew=advskew,
            demote=self._demote,
            fast=host.is_fast,
            dead_at=host.due if host.state is BACKUP else None,
        )

    def reports(self) -> tuple[Report, ...]:
        """Tell about all VHIDs, in the order of the settings."""
        return tuple(self.report(each.key) for each in self._settings.vhids)

    # --- life ----------------------------------------------------------------------------------------------

    def start(self, now: float) -> list[Effect]:
        """Begin to listen; nothing is MASTER before one dead interval has passed."""
        self._running = True
        self._ready_at = now + self._settings.preempt_delay_s
        for host in self._hosts.values():
            if self._enabled:
                self._wake(host, now, "started")
            else:
                self._rest(host, DISABLED, now, "disabled")
        return self._take_effects()

    def stop(self, now: float) -> list[Effect]:
        """Bow out of everything; keep calling `tick` until `closed`."""
        self._stopping = True
        self._running = False
        self._bow_out(self._in(MASTER), now, "stopped", then=INIT)
        for host in self._hosts.values():
            self._rest(host, INIT, now, "stopped")
        return self._take_effects()

    def set_enabled(self, on: bool, now: float) -> list[Effect]:
        """Switch this node's part in the election off (bow-out first) or on again."""
        if on == self._enabled:
            return []
        self._enabled = on
        if on:
            self._ready_at = now + self._settings.preempt_delay_s
            for host in self._hosts.values():
                self._wake(host, now, "enabled")
        elif self._running:
            self._bow_out(self._in(MASTER), now, "disabled", then=DISABLED)
            for host in self._hosts.values():
                self._rest(host, DISABLED, now, "disabled")
        return self._take_effects()

    def _wake(self, host: VirtualHost, now: float, reason: str) -> None:
        if host.state is RELEASING:
            host.release_to = BACKUP
        if not self._running or not self._enabled or host.state not in (INIT, DISABLED):
            return
        if self._links.get(host.settings.key[0], False):
            self._become_backup(host, now, reason)
        elif host.state is DISABLED:
            self._move(host, INIT, now, "interface has no link")

    def _rest(self, host: VirtualHost, state: State, now: float, reason: str) -> None:
        if host.state is RELEASING:
            host.release_to = state
        elif host.state is not state:
            self._move(host, state, now, reason)

    # --- sickness ------------------------------------------------------------------------------------------

    def set_link(self, interface: str, up: bool, now: float) -> list[Effect]:
        """Tell the carrier of an interface. Until told, an interface has no link and is no reason to be demoted."""
        if self._links.get(interface) == up:
            return []
        self._links[interface] = up
        hosts = [host for key, host in self._hosts.items() if key[0] == interface]
        before = self.demotion
        self._refresh_own_reasons()
        if up:
            self._demotion_moved(before, now, f"link of {interface} is back")
            if hosts and self._running:
                self._ready_at = max(self._ready_at, now + self._settings.preempt_delay_s)
            for host in hosts:
                self._wake(host, now, "interface has link")
        else:
            left = self._demotion_moved(before, now, f"interface {interface} lost its link")
            for host in hosts:
                self._lose_link(host, now, left)
        return self._take_effects()

    def set_reasons(self, reasons: Mapping[str, int], now: float) -> list[Effect]:
        """Replace the demotion reasons that come from outside (monitors, a bulk update, the operator)."""
        before = self.demotion
        self._demotion.set_external(reasons)
        self._demotion_moved(before, now, "demoted by " + (", ".join(reasons) or "nothing"))
        return self._take_effects()

    def set_maintenance(self, on: bool, now: float) -> list[Effect]:
        """Make this node the last choice, or a normal one again."""
        if on != self._maintenance:
            self._maintenance = on
            before = self.demotion
            self._refresh_own_reasons()
            self._demotion_moved(before, now, "maintenance")
        return self._take_effects()

    def _refresh_own_reasons(self) -> None:
        used = {key[0] for key in self._hosts}
        down = [interface for interface, up in self._links.items() if not up and interface in used]
        self._demotion.set_own(down, maintenance=self._maintenance)

    def _demotion_moved(self, before: int, now: float, reason: str) -> bool:
        """Act on a changed total; whether the whole working group bowed out."""
        total = self.demotion
        if total == before or not self._running:
            return False
        self._note("demotion_changed", total=total, before=before, reasons=" ".join(self.reasons))
        if not total:
            self._ready_at = max(self._ready_at, now + self._settings.preempt_delay_s)
        working = [host for host in self._in(MASTER) if self._links.get(host.settings.key[0], False)]
        leaving: list[VirtualHost] = []
        if demote_byte(total) > demote_byte(before):
            leaving = [host for host in working if self._cluster.outranks(host.settings.key, total)]
            self._bow_out(leaving, now, reason, then=BACKUP, group=len(leaving) == len(working))
            if working and not leaving:
                self._note("nobody_healthier", reason=reason)
        for host in working:
            if host.state is MASTER:
                self._advertise(host, now)
        return bool(leaving) and len(leaving) == len(working)

    def _lose_link(self, host: VirtualHost, now: float, whole_group: bool) -> None:
        if host.state is DISABLED:
            return
        if host.state is MASTER:
            self._send(host, BOW_OUT_BASE, BOW_OUT_SKEW if whole_group else LONE_SKEW, sync="only")
        if host.state in (MASTER, RELEASING):
            self._effects.append(Deactivate(host.settings.key))
        if host.state is RELEASING and host.release_to is DISABLED:
            self._move(host, DISABLED, now, "disabled")
        elif host.state is not INIT:
            self._move(host, INIT, now, "interface lost its link")

    # --- peers ---------------------------------------------------------------------------------------------

    def set_peers(self, views: Sequence[PeerView], now: float) -> list[Effect]:
        """Replace what the hellos say about the other nodes."""
        had = bool(self._cluster.healthier(self.demotion))
        self._cluster.replace(views)
        invite = not had and bool(self._cluster.healthier(self.demotion))
        for host in self._in(MASTER):
            # A healthier node has appeared: do not make it wait for the next advert to find out about us.
            if invite or host.is_fast != self._speaks_fast(host, now):
                self._advertise(host, now)
        return self._take_effects()

    def resign(self, now: float, *, reason: str, for_s: float = RESIGN_S) -> list[Effect]:
        """Hand everything over, and take nothing back for a while. Ask `best_peer` first."""
        self._resigned_until = now + for_s
        self._bow_out(self._in(MASTER), now, reason, then=BACKUP)
        return self._take_effects()

    def reclaim(self, now: float) -> list[Effect]:
        """End a resignation; whether and when the group comes back is up to the usual rules."""
        del now  # like all methods here; nothing happens before the next advert
        self._resigned_until = -math.inf
        return self._take_effects()

    def peer_died(self, now: float, *, reason: str, name: str = "") -> list[Effect]:
        """Take over from a node that was proven dead; `name` "" means whoever is master."""
        heirs = [host for host in self._in(BACKUP) if self._may_follow(host, name)]
        self._take(self._not_outranked(heirs, name), now, reason)
        return self._take_effects()

    def _may_follow(self, host: VirtualHost, name: str) -> bool:
        """Whether the master of a VHID may be node `name`: nothing says that it is another one."""
        known = [each for each in (self._cluster.name_of(one.source) for one in host.masters.values()) if each]
        return not name or not known or name in known

    def _not_outranked(self, hosts: Iterable[VirtualHost], leaver: str) -> list[VirtualHost]:
        """Leave out what a healthier third node will take; the dead timer stays as a safety net."""
        return [host for host in hosts if not self._cluster.outranks(host.settings.key, self.demotion, besides=leaver)]

    # --- adverts -------------------------------------------------------------------------------------------

    def receive(self, heard: Heard, now: float) -> list[Effect]:
        """Take one authenticated advert of another node."""
        host = self._hosts.get(heard.key)
        if host is None or (heard.family not in host.settings.families and not heard.via_sync):
            self._effects.append(Count(heard.key, "badvhid"))
            return self._take_effects()
        if heard.via_sync and not heard.is_farewell:
            return []
        verdict = judge(host.own(self.demotion, self._demote), heard)
        action = ON_ADVERT.get((host.state, verdict))
        if action is not None:
            self._remember_slow(host, heard, now)
            self._ACTIONS[action](self, host, heard, verdict, now)
        return self._take_effects()

    def _remember_slow(self, host: VirtualHost, heard: Heard, now: float) -> None:
        """Note who cannot, or just does not, speak sub-second adverts."""
        if heard.own_kind and host.slow_source == heard.source:
            host.slow_until = now  # it was taken for a stranger by its first advert
        if not heard.is_farewell and heard.advbase > 0:
            memory_s = SLOW_MEMORY_S if heard.own_kind else FOREIGN_MEMORY_S
            if now + memory_s > host.slow_until:
                host.slow_until, host.slow_source = now + memory_s, heard.source

    def _on_yield(self, host: VirtualHost, heard: Heard, verdict: Verdict, now: float) -> None:
        """MASTER, and somebody goes before us."""
        if verdict is Verdict.BETTER and not self._was_stalled(host, now):
            # Parting advert. Not on equality: a BSD would step down as well.
            self._send(host, *host.timing(self.demotion, fast=host.is_fast), family=heard.family)
        self._effects.append(Deactivate(host.settings.key))
        # After a double step-down of equals, chance must decide who comes back first.
        grace_s = self._jitter() * host.expected_interval_s() / 4 if verdict is Verdict.EQUAL else 0.0
        self._become_backup(host, now, f"better master {heard.source}", grace_s=grace_s, heard=(heard, verdict))

    def _on_reassert(self, host: VirtualHost, heard: Heard, verdict: Verdict, now: float) -> None:
        """MASTER, and somebody who goes after us speaks: also its frames moved the virtual MAC in the switches."""
        if verdict is Verdict.WORSE and self._was_stalled(host, now):
            self._ready_at = max(self._ready_at, now + self._settings.preempt_delay_s)
            self._effects.append(Deactivate(host.settings.key))
            reason = f"was stalled while {heard.source} became master"
            self._become_backup(host, now, reason, heard=(heard, verdict))
        elif now >= host.reassert_at:
            host.reassert_at = now + REASSERT_S
            host.announce_in = ANNOUNCE_AGAIN
            self._advertise(host, now)
            self._effects.append(Announce(host.settings.key))
            self._effects.append(Count(host.settings.key, "reasserted"))

    def _on_follow(self, host: VirtualHost, heard: Heard, verdict: Verdict, now: float) -> None:
        """BACKUP, and a master is there."""
        host.believe(heard, verdict, now)
        self._schedule.update(host.settings.key)

    def _on_challenge(self, host: VirtualHost, heard: Heard, verdict: Verdict, now: float) -> None:
        """BACKUP, and the master goes after us: preempt with the whole group, or reunite a split group."""
        self._on_follow(host, heard, verdict, now)
        if now < self._ready_at or now < self._resigned_until or self._maintenance:
            return
        preempt = self._settings.preempt and not self.demotion
        reunite = heard.own_kind and any(each.state is MASTER for each in self._hosts.values())
        if not preempt and not reunite:
            return
        waiting = self._in(BACKUP)
        verdicts = [(each, {master.verdict for master in each.masters.values()}) for each in waiting]
        if any(Verdict.BETTER in found for _, found in verdicts):
            return  # half of the group would come back to its master at once
        heirs = [each for each, found in verdicts if Verdict.EQUAL not in found]
        if not preempt:
            heirs = [each for each in heirs if each.masters and self._moves_along(each, "")]
        if self._cluster.outranks(heard.key, self.demotion, besides=self._cluster.name_of(heard.source)):
            return
        self._effects.append(Count(host.settings.key, "preempt"))
        self._take(
            heirs, now, f"preempted {heard.source}" if preempt else f"group reunited, {heard.source} goes after us"
        )

    def _on_relieve(self, host: VirtualHost, heard: Heard, verdict: Verdict, now: float) -> None:
        """BACKUP, and the master is one of us and sicker than we are: take the group, preempt or not."""
        self._on_follow(host, heard, verdict, now)
        name = self._cluster.name_of(heard.source)
        if now < self._resigned_until or self._cluster.outranks(heard.key, self.demotion, besides=name):
            return
        heirs = [each for each in self._in(BACKUP) if each is host or self._moves_along(each, name)]
        self._take(heirs, now, f"master {heard.source} is more demoted")

    def _on_succeed(self, host: VirtualHost, heard: Heard, verdict: Verdict, now: float) -> None:
        """BACKUP, and the master lets go, of its group (255/255) or of this VHID."""
        if not self._is_from_master(host, heard):
            self._effects.append(Count(host.settings.key, "farewell_ignored"))
            return
        name = self._cluster.name_of(heard.source)
        heirs = [host]
        if verdict is Verdict.BOW_OUT and heard.own_kind:
            heirs = [each for each in self._in(BACKUP) if each is host or self._moves_along(each, name)]
        reason = f"bow-out of {heard.source}" if heard.is_farewell else f"master {heard.source} will time out"
        self._take(self._not_outranked(heirs, name), now, reason)

    def _moves_along(self, host: VirtualHost, name: str) -> bool:
        """Whether a sibling goes where the group of node `name` goes: it may be its master, and is one of us."""
        return self._may_follow(host, name) and all(master.own_kind for master in host.masters.values())

    def _is_from_master(self, host: VirtualHost, heard: Heard) -> bool:
        """Whether a farewell comes from the master we believe in, or nobody is known to be master."""
        if not host.masters or any(master.source == heard.source for master in host.masters.values()):
            return True
        name = self._cluster.name_of(heard.source)
        if not name:
            return heard.via_sync and heard.own_kind
        return any(self._cluster.name_of(master.source) == name for master in host.masters.values())

    def _was_stalled(self, host: VirtualHost, now: float) -> bool:
        """Whether we, as MASTER, were silent for so long that a BACKUP rightly took over."""
        silence_s = host.settings.dead_ratio * interval_s(*host.timing(self.demotion, fast=host.is_fast))
        return now - host.advert_at > silence_s

    _ACTIONS: Mapping[str, Callable[[Machine, VirtualHost, Heard, Verdict, float], None]] = {
        "yield": _on_yield,
        "reassert": _on_reassert,
        "follow": _on_follow,
        "challenge": _on_challenge,
        "relieve": _on_relieve,
        "succeed": _on_succeed,
    }

    # --- timers --------------------------------------------------------------------------------------------

    def tick(self, now: float) -> list[Effect]:
        """Serve every deadline that has come. Drain the socket first: a waiting advert is not a dead master."""
        first = self._schedule.next()
        if first is None or first > now:
            return []
        self._forgive(now, now - first)
        for key in self._schedule.take_due(now):
            host = self._hosts[key]
            if host.due <= now:
                self._serve(host, now)
            self._schedule.update(key)
        return self._take_effects()

    def _serve(self, host: VirtualHost, now: float) -> None:
        if host.state is MASTER:
            planned = host.advert_at
            self._advertise(host, now)
            on_beat = planned + (host.advert_at - now)
            host.advert_at = on_beat if on_beat > now else host.advert_at  # keep the phase, but never catch up
            host.announce_in -= 1
            if host.announce_in == 0:
                self._effects.append(Announce(host.settings.key))
        elif host.state is RELEASING:
            self._released(host, now)
        elif host.state is BACKUP:
            self._expire(host, now)

    def _released(self, host: VirtualHost, now: float) -> None:
        self._effects.append(Deactivate(host.settings.key))
        if host.release_to is BACKUP:
            self._become_backup(host, now, host.reason)
        else:
            self._move(host, host.release_to, now, host.reason)

    def _expire(self, host: VirtualHost, now: float) -> None:
        """A dead timer of a BACKUP has run out, in time."""
        if host.masters and not host.missed_advert(now):
            # Only one family is silent; the master lives and would take the VHID back at once.
            for family, at in host.dead_at.items():
                if at <= now:
                    host.dead_at[family] = now + host.dead_s(family)
                    self._effects.append(Count(host.settings.key, "family_silent"))
            return
        names = {self._cluster.name_of(master.source) for master in host.masters.values()} - {""}
        name = next(iter(names)) if len(names) == 1 else ""
        heirs = [
            each
            for each in self._in(BACKUP)
            if each is host or (each.missed_advert(now) and self._may_follow(each, name))
        ]
        self._take(heirs, now, "master timed out")

    def _forgive(self, now: float, late_s: float) -> None:
        """We come late, so dead timers about to run out prove nothing: re-arm them for an interval."""
        if late_s <= self._settings.late_s:
            return
        forgiven = 0
        for host in self._in(BACKUP):
            more_s = host.expected_interval_s()
            early = [family for family, at in host.dead_at.items() if at < now + more_s]
            if not early or late_s <= more_s / 4 or host.forgiven >= FORGIVEN_MAX:
                continue
            forgiven += 1
            host.forgiven += 1
            if host.due <= now:
                self._effects.append(Count(host.settings.key, "late_timer"))
            host.dead_at.update(dict.fromkeys(early, now + more_s))
        if forgiven:
            self._note("late_timer", late_ms=round(late_s * 1000), vhids=forgiven)

    # --- reconfiguration -----------------------------------------------------------------------------------

    def reconfigure(self, settings: GroupSettings, now: float) -> list[Effect]:
        """Take new settings; what did not change is not touched, changed timing keeps the state."""
        old, self._settings = self._settings, settings
        before = self.demotion
        wanted = {each.key: each for each in settings.vhids}
        for key in [key for key in self._hosts if key not in wanted]:
            self._remove(self._hosts[key], now)
        added = [key for key in wanted if key not in self._hosts]
        changed = [key for key in wanted if key in self._hosts and self._hosts[key].settings != wanted[key]]
        self._hosts = {key: self._hosts.get(key) or VirtualHost(each) for key, each in wanted.items()}
        for key in changed:
            self._retime(self._hosts[key], wanted[key], now)
        if settings.maintenance != old.maintenance:
            self._maintenance = settings.maintenance
        self._refresh_own_reasons()
        self._demotion_moved(before, now, "reconfigured")
        for key in added:
            self._wake(self._hosts[key], now, "added")
        return self._take_effects()

    def _remove(self, host: VirtualHost, now: float) -> None:
        if host.state is MASTER:
            self._send(host, BOW_OUT_BASE, LONE_SKEW, sync="copy")
        if host.state in (MASTER, RELEASING):
            self._effects.append(Deactivate(host.settings.key))
        if host.state is not INIT:
            self._move(host, INIT, now, "removed")
        self._schedule.forget(host.settings.key)

    def _retime(self, host: VirtualHost, settings: VhidSettings, now: float) -> None:
        families_changed = host.settings.families != settings.families
        host.settings = settings
        if host.state is MASTER:
            self._advertise(host, now)
        elif host.state is BACKUP:
            host.masters = {family: host.masters[family] for family in host.masters if family in settings.families}
            if families_changed or not host.masters:
                host.arm(now)
        self._schedule.update(settings.key)

    # --- moves ---------------------------------------------------------------------------------------------

    def _take(self, hosts: Iterable[VirtualHost], now: float, reason: str) -> None:
        """BACKUP to MASTER: open the gate, speak, announce, tell."""
        for host in hosts:
            key = host.settings.key
            self._effects.append(Activate(key))
            host.masters.clear()
            host.is_fast = self._speaks_fast(host, now)
            self._advertise(host, now)
            # All VHIDs spoke at once just now; from here on each has its own phase.
            host.advert_at = now + (host.advert_at - now) * (1 - self._jitter() / 2)
            host.announce_in = ANNOUNCE_AGAIN
            host.reassert_at = -math.inf
            self._effects.append(Announce(key))
            self._move(host, MASTER, now, reason)
        if not self._in(BACKUP):
            self._resigned_until = -math.inf  # everything came back to us: the handover is history

    def _bow_out(
        self, hosts: Sequence[VirtualHost], now: float, reason: str, *, then: State, group: bool = True
    ) -> None:
        """MASTER to RELEASING: first all farewells, so that the peer can begin, then hold."""
        for host in hosts:
            self._send(host, BOW_OUT_BASE, BOW_OUT_SKEW if group else LONE_SKEW, sync="copy")
        for host in hosts:
            host.release_at = now + self._settings.hold_s
            host.release_to = then
            self._move(host, RELEASING, now, reason)

    def _become_backup(
        self,
        host: VirtualHost,
        now: float,
        reason: str,
        *,
        grace_s: float = 0.0,
        heard: tuple[Heard, Verdict] | None = None,
    ) -> None:
        host.masters.clear()
        host.arm(now)
        if heard is not None:
            host.believe(*heard, now)
            host.dead_at = {family: at + grace_s for family, at in host.dead_at.items()}
        self._move(host, BACKUP, now, reason)

    def _move(self, host: VirtualHost, new: State, now: float, reason: str) -> None:
        old = host.state
        assert new in TRANSITIONS[old], f"{host.settings.key}: {old} to {new}"
        host.state, host.reason, host.since = new, reason, now
        if new is not MASTER:
            host.is_fast = False
        self._effects.append(Changed(host.settings.key, old, new, reason))
        self._schedule.update(host.settings.key)

    # --- sending -------------------------------------------------------------------------------------------

    @property
    def _demote(self) -> int:
        return demote_byte(self.demotion)

    def _speaks_fast(self, host: VirtualHost, now: float) -> bool:
        return host.settings.fast and now >= host.slow_until and self._cluster.all_fast()

    def _advertise(self, host: VirtualHost, now: float) -> None:
        """Send a regular advert in each family and plan the next one."""
        host.is_fast = self._speaks_fast(host, now)
        advbase, advskew = host.timing(self.demotion, fast=host.is_fast)
        self._send(host, advbase, advskew)
        host.advert_at = now + interval_s(advbase, advskew)
        self._schedule.update(host.settings.key)

    def _send(self, host: VirtualHost, advbase: int, advskew: int, *, sync: str = "", family: int = 0) -> None:
        key, demote = host.settings.key, self._demote
        for each in sorted(host.settings.families):
            if family in (0, each):
                self._effects.append(
                    SendAdvert(key, each, advbase, advskew, demote, copy_to_sync=bool(sync), only_sync=sync == "only")
                )

    # --- leaves --------------------------------------------------------------------------------------------

    def _in(self, state: State) -> list[VirtualHost]:
        return [host for host in self._hosts.values() if host.state is state]

    def _note(self, event: str, **fields: str | int | float) -> None:
        self._effects.append(Note(event, fields))

    def _take_effects(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects
