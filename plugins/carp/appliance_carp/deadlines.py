"""What the passing of time does to the group: adverts to send, masters gone silent, our own stalls."""

from __future__ import annotations

from appliance_carp.group import REASSERT_S, Group
from appliance_carp.transitions import BACKUP, MASTER, RELEASING
from appliance_carp.virtualhost import FORGIVEN_MAX, VirtualHost
from appliance_carp.vocabulary import Announce


def serve(group: Group, now: float) -> None:
    """Serve every deadline that has come."""
    first = group.schedule.next()
    if first is None or first > now:
        return
    _forgive(group, now, now - first)
    for key in group.schedule.take_due(now):
        host = group.hosts[key]
        if host.due <= now:  # a sibling served before may have moved it
            if host.state is MASTER:
                _beat(group, host, now)
            elif host.state is BACKUP:
                _expire(group, host, now)
            elif host.state is RELEASING:
                _released(group, host, now)
        group.schedule.update(key)


def _beat(group: Group, host: VirtualHost, now: float) -> None:
    """Send the periodic advert, keep the phase, but never catch up with a burst."""
    planned = host.advert_at
    group.advertise(host, now)
    on_beat = planned + (host.advert_at - now)
    if on_beat > now:
        host.advert_at = on_beat
    host.announce_in -= 1
    if host.announce_in == 0:
        host.reassert_at = max(host.reassert_at, now) + REASSERT_S  # this is an answer, too
        group.do(Announce(host.settings.key))


def _released(group: Group, host: VirtualHost, now: float) -> None:
    if host.release_to is BACKUP:
        group.become_backup(host, now, host.reason)
    else:
        group.leave(host, host.release_to, now, host.reason)


def _expire(group: Group, host: VirtualHost, now: float) -> None:
    """A dead timer of a BACKUP has run out, and we are in time."""
    if host.masters and not host.missed_advert(now):
        # Only one family is silent; the master lives and would take the VHID back at once.
        for family, at in host.dead_at.items():
            if at <= now:
                host.dead_at[family] = now + host.dead_s(family)
                group.count(host.settings.key, "family_silent")
        return
    names = {group.cluster.name_of(master.source) for master in host.masters.values()} - {""}
    name = names.pop() if len(names) == 1 else ""
    heirs = [
        each
        for each in group.in_state(BACKUP)
        if each is host or (each.missed_advert(now) and group.may_follow(each, name))
    ]
    group.take(heirs, now, "master timed out")


def _forgive(group: Group, now: float, late_s: float) -> None:
    """We come late, so dead timers about to run out prove nothing: re-arm them for an interval."""
    if late_s <= group.settings.late_s:
        return
    forgiven = 0
    for host in group.in_state(BACKUP):
        more_s = host.expected_interval_s()
        early = [family for family, at in host.dead_at.items() if at < now + more_s]
        if not early or late_s <= more_s / 4 or host.forgiven >= FORGIVEN_MAX:
            continue
        forgiven += 1
        host.forgiven += 1
        if host.due <= now:
            group.count(host.settings.key, "late_timer")
        host.dead_at.update(dict.fromkeys(early, now + more_s))
    if forgiven:
        group.note("late_timer", late_ms=round(late_s * 1000), vhids=forgiven)
