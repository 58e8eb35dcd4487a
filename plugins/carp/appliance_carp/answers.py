"""What an advert does to the group: one function per `transitions.Action`, and the one that chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from appliance_carp.election import Verdict, judge
from appliance_carp.group import ANNOUNCE_AGAIN, CHALLENGE_S, REASSERT_BURST_S, REASSERT_S, Group
from appliance_carp.transitions import BACKUP, MASTER, ON_ADVERT, Action
from appliance_carp.virtualhost import VirtualHost
from appliance_carp.vocabulary import Announce, Heard

SLOW_MEMORY_S = 10.0
"""After a normal advert of our own kind we speak slowly for so long; the hellos will have settled by then."""
FOREIGN_MEMORY_S = 3600.0
"""A foreign peer is silent as BACKUP and may be listening for long after it was last heard."""

Answer: TypeAlias = Callable[[Group, VirtualHost, Heard, Verdict, float], None]


def answer(group: Group, heard: Heard, now: float) -> None:
    """Look up what the advert means and what that does in the present state."""
    host = group.hosts.get(heard.key)
    if host is None or (heard.family not in host.settings.families and not heard.via_sync):
        group.count(heard.key, "badvhid")
        return
    if heard.via_sync and not heard.is_farewell:
        return  # only farewells are copied; anything else says nothing about this network
    verdict = judge(host.own(group.demotion.total, group.demote), heard)
    action = ON_ADVERT.get((host.state, verdict))
    if action is not None:
        _remember_slow(host, heard, now)
        _ANSWERS[action](group, host, heard, verdict, now)


def _remember_slow(host: VirtualHost, heard: Heard, now: float) -> None:
    """Note who cannot, or just does not, speak sub-second adverts."""
    if heard.own_kind and host.slow_source == heard.source:
        host.slow_until = now  # its first advert was taken for a stranger's
    if not heard.is_farewell and heard.advbase > 0:
        memory_s = SLOW_MEMORY_S if heard.own_kind else FOREIGN_MEMORY_S
        if now + memory_s > host.slow_until:
            host.slow_until, host.slow_source = now + memory_s, heard.source


def _yield(group: Group, host: VirtualHost, heard: Heard, verdict: Verdict, now: float) -> None:
    """MASTER, and somebody goes before us."""
    if verdict is Verdict.BETTER and not group.was_stalled(host, now):
        group.say_parting_word(host, heard.family)  # not on equality: a BSD would step down as well
    # After a double step-down of equals, chance must decide who comes back first.
    grace_s = group.jitter() * host.expected_interval_s() / 4 if verdict is Verdict.EQUAL else 0.0
    group.become_backup(host, now, f"better master {heard.source}", heard=(heard, verdict), grace_s=grace_s)


def _reassert(group: Group, host: VirtualHost, heard: Heard, verdict: Verdict, now: float) -> None:
    """MASTER, and somebody who goes after us speaks: its frame moved the virtual MAC in the switches, too."""
    if verdict is Verdict.WORSE and group.was_stalled(host, now):
        group.ready_at = max(group.ready_at, now + group.settings.preempt_delay_s)
        reason = f"was stalled while {heard.source} became master"
        group.become_backup(host, now, reason, heard=(heard, verdict))
    elif now >= host.reassert_at - REASSERT_BURST_S:
        host.reassert_at = max(host.reassert_at, now) + REASSERT_S
        host.announce_in = ANNOUNCE_AGAIN
        group.advertise(host, now)
        group.do(Announce(host.settings.key))
        group.count(host.settings.key, "reasserted")
    else:  # too often: the last word is still ours, a little later
        host.advert_at = min(host.advert_at, host.reassert_at - REASSERT_BURST_S)
        host.announce_in = 1
        group.schedule.update(host.settings.key)


def _follow(group: Group, host: VirtualHost, heard: Heard, verdict: Verdict, now: float) -> None:
    """BACKUP, and a master is there."""
    host.believe(heard, verdict, now)
    group.schedule.update(host.settings.key)


def _challenge(group: Group, host: VirtualHost, heard: Heard, verdict: Verdict, now: float) -> None:
    """BACKUP, and the master goes after us: preempt with the whole group, or reunite a split group."""
    _follow(group, host, heard, verdict, now)
    if now < group.challenge_at or now < group.ready_at or now < group.resigned_until or group.maintenance:
        return
    preempt = group.settings.preempt and not group.demotion.total
    reunite = heard.own_kind and group.has(MASTER)
    if not (preempt or reunite) or group.outranked(heard.key, group.cluster.name_of(heard.source)):
        return
    waiting = [(each, {master.verdict for master in each.masters.values()}) for each in group.in_state(BACKUP)]
    if any(Verdict.BETTER in verdicts for _, verdicts in waiting):
        group.challenge_at = now + CHALLENGE_S
        return  # that part of the group would be taken back at once
    heirs = [each for each, verdicts in waiting if Verdict.EQUAL not in verdicts]
    reason = f"preempted {heard.source}"
    if not preempt:
        heirs = [each for each in heirs if each.masters and group.moves_along(each, "")]
        reason = f"group reunited, {heard.source} goes after us"
    group.count(host.settings.key, "preempt")
    group.take(heirs, now, reason)


def _relieve(group: Group, host: VirtualHost, heard: Heard, verdict: Verdict, now: float) -> None:
    """BACKUP, and the master is one of us and sicker than we are: take the group, preempt or not."""
    _follow(group, host, heard, verdict, now)
    name = group.cluster.name_of(heard.source)
    if now < group.resigned_until or group.outranked(heard.key, name):
        return
    heirs = [each for each in group.in_state(BACKUP) if each is host or group.moves_along(each, name)]
    group.take(heirs, now, f"master {heard.source} is more demoted")


def _succeed(group: Group, host: VirtualHost, heard: Heard, verdict: Verdict, now: float) -> None:
    """BACKUP, and the master lets go, of its group (255/255) or of this VHID."""
    if not _is_from_master(group, host, heard):
        group.count(host.settings.key, "farewell_ignored")
        return
    name = group.cluster.name_of(heard.source)
    heirs = [host]
    if verdict is Verdict.BOW_OUT and heard.own_kind:
        heirs = [each for each in group.in_state(BACKUP) if each is host or group.moves_along(each, name)]
    reason = f"bow-out of {heard.source}" if heard.is_farewell else f"master {heard.source} will time out"
    group.inherit(heirs, name, now, reason)


def _is_from_master(group: Group, host: VirtualHost, heard: Heard) -> bool:
    """Whether a farewell comes from the master we believe in, or nobody is known to be master."""
    if not host.masters or any(master.source == heard.source for master in host.masters.values()):
        return True
    name = group.cluster.name_of(heard.source)
    if not name:
        return heard.via_sync and heard.own_kind  # before the first hello; the sync link has one other end
    return any(group.cluster.name_of(master.source) == name for master in host.masters.values())


_ANSWERS: Mapping[Action, Answer] = {
    Action.YIELD: _yield,
    Action.REASSERT: _reassert,
    Action.FOLLOW: _follow,
    Action.CHALLENGE: _challenge,
    Action.RELIEVE: _relieve,
    Action.SUCCEED: _succeed,
}
