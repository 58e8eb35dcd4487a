"""What `appliance show ha` and `show alarms` know: the truth about this node, as data.

Everything comes from retained facts and from the supervisor's own table, so it cannot hang on a sick
service. A service that died has had its facts withdrawn: it shows up as a problem, not as a stale role.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from appliance.events import (
    Alarm,
    ConfigApplied,
    Demotion,
    Event,
    Health,
    LinkChanged,
    PeerChanged,
    Role,
    RoleChanged,
    Status,
)

if TYPE_CHECKING:
    from appliance.bus import Envelope
    from appliance.control.context import ApplianceView

E = TypeVar("E", bound=Event)
Fact = dict[str, Any]
SICK_SERVICES = frozenset({"back-off", "failed"})
SICK_PLUGINS = frozenset({"broken", "refused"})


def ha_status(appliance: ApplianceView, *, now: float) -> Fact:
    """The facts of `show ha`, in the documented shape.

    Args:
        appliance: The node.
        now: The bus clock's current time, for ages.
    """
    roles = _facts(appliance, RoleChanged)
    vips = [_vip(envelope, event, now) for envelope, event in roles if event.role is not Role.REMOVED]
    vips.sort(key=lambda vip: (vip["interface"], vip["vhid"]))
    reasons = [
        {"name": event.reason, "weight": event.weight, **_when(envelope, now)}
        for envelope, event in _facts(appliance, Demotion)
        if event.weight
    ]
    peers = [
        {
            "peer": event.peer,
            "alive": event.alive,
            "healthy": event.healthy,
            "demotion": event.demotion,
            "summary": event.summary,
            **_when(envelope, now),
        }
        for envelope, event in _facts(appliance, PeerChanged)
    ]
    links = [
        {
            "interface": event.interface,
            "device": event.device,
            "present": event.present,
            "up": event.up,
            **_when(envelope, now),
        }
        for envelope, event in _facts(appliance, LinkChanged)
    ]
    applied = [event.revision for _, event in _facts(appliance, ConfigApplied)]
    role = overall_role([vip["state"] for vip in vips])
    return {
        "node": appliance.node.name,
        "role": role,
        "summary": _summary(appliance.node.name, role, [vip["state"] for vip in vips]),
        "failover": _failover(role, peers, reasons),
        "vips": vips,
        "demotion": sum(reason["weight"] for reason in reasons),
        "reasons": reasons,
        "peers": peers,
        "links": links,
        "notes": [
            {"source": envelope.source, "what": status.summary, "fix": status.fix}
            for envelope, status in _facts(appliance, Status)
            if status.health is Health.OK and status.fix
        ],
        "problems": _ordered(_problems(appliance, role)),
        "config": {"revision": applied[-1] if applied else None, "role": appliance.node.role},
    }


def _failover(role: str, peers: list[Fact], reasons: list[Fact]) -> Fact | None:
    """Whether a failover would work now, and if not why; `None` for a node that takes no part."""
    if role in ("MASTER", "MIXED"):
        heirs = [peer["peer"] for peer in peers if peer["alive"] and peer["healthy"]]
        if heirs:
            return {"ready": True, "what": f"{' or '.join(heirs)} would take over", "fix": None}
        states = [f"{each['peer']} {'is not healthy' if each['alive'] else 'does not answer'}" for each in peers]
        return {
            "ready": False,
            "what": f"nobody would take over: {', '.join(states) or 'no other node has been heard'}",
            "fix": "Start the other node, take it out of maintenance, or run `appliance show ha` on it.",
        }
    if role != "BACKUP":
        return None
    if reasons:
        names = ", ".join(reason["name"] for reason in reasons)
        fix = "`appliance doctor` has a remedy for each of them; some end by themselves."
        return {"ready": False, "what": f"this node would take over badly: {names}", "fix": fix}
    return {"ready": True, "what": "this node would take over", "fix": None}


def overall_role(states: list[str]) -> str:
    """One word for all virtual hosts: their common state, ``MIXED``, or ``NONE``."""
    different = set(states)
    if not different:
        return "NONE"
    return different.pop() if len(different) == 1 else "MIXED"


def rfc3339(wall: float) -> str:
    """A time of day for programs, in UTC with milliseconds."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def active_alarms(appliance: ApplianceView, *, now: float) -> list[Fact]:
    """What is wrong by the services' own word, worst first."""
    alarms = [
        {
            "key": event.key,
            "health": event.health.value,
            "what": event.what,
            "fix": event.fix,
            "source": envelope.source,
            **_when(envelope, now),
        }
        for envelope, event in _facts(appliance, Alarm)
        if event.active
    ]
    return _ordered(iter(alarms))


def _facts(appliance: ApplianceView, kind: type[E]) -> list[tuple[Envelope, E]]:
    return [(envelope, envelope.event) for envelope in appliance.bus.retained(kind) if isinstance(envelope.event, kind)]


def _when(envelope: Envelope, now: float) -> Fact:
    return {"since": rfc3339(envelope.wall), "age_s": round(max(now - envelope.monotonic, 0.0), 1)}


def _vip(envelope: Envelope, event: RoleChanged, now: float) -> Fact:
    return {
        "interface": event.interface,
        "vhid": event.vhid,
        "state": event.role.value,
        **_when(envelope, now),
        "reason": event.reason,
    }


def _summary(node: str, role: str, states: list[str]) -> str:
    count = len(states)
    hosts = "1 virtual host" if count == 1 else f"{count} virtual hosts"
    match role:
        case "NONE":
            return f"{node} has no virtual hosts"
        case "MASTER":
            return f"{node} is MASTER of all {hosts}" if count > 1 else f"{node} is MASTER of its virtual host"
        case "INIT":
            return f"{node} is in INIT: no interface with a virtual host has a link"
        case "DISABLED":
            return f"{node} is DISABLED: it takes no part until `appliance ha enable` or a restart"
        case "MIXED":
            counts = Counter(states)
            dead = counts.pop("INIT", 0)
            if len(counts) == 1:
                ((state, number),) = counts.items()
                return f"{node} is {state} of {number} of {count} virtual hosts; {dead} without link"
            if dead:
                counts["INIT"] = dead
            parts = [f"{state} of {number}" for state, number in sorted(counts.items())]
            return f"{node} has MIXED roles: {', '.join(parts)}"
    return f"{node} is {role} of all {hosts}" if count > 1 else f"{node} is {role} of its virtual host"


def _problems(appliance: ApplianceView, role: str) -> Iterator[Fact]:
    alarms = active_alarms(appliance, now=0.0)
    for alarm in alarms:
        yield _problem(alarm["health"], alarm["what"], alarm["fix"])
    down = [(envelope.source, link) for envelope, link in _facts(appliance, LinkChanged) if not link.up]
    said = {alarm["source"] for alarm in alarms} | {source for source, _ in down}
    yield from _sick_parts(appliance, said, {alarm["key"] for alarm in alarms})
    for source, link in down:
        if not any(alarm["source"] == source and link.device in alarm["what"] for alarm in alarms):
            yield _link_problem(link)
    for _, peer in _facts(appliance, PeerChanged):
        if not peer.alive:
            fix = "If it should be running, look at that machine: power, its log, the sync cable."
            yield _problem(Health.WARN, f"peer {peer.peer} does not answer: {peer.summary}", fix)
        elif not peer.healthy:
            fix = f"It would not take over. Run `appliance show ha` on {peer.peer}."
            yield _problem(Health.WARN, f"peer {peer.peer} is not healthy: {peer.summary}", fix)
    roles = {event.role for _, event in _facts(appliance, RoleChanged)}
    if role == "MIXED" and {Role.MASTER, Role.BACKUP} <= roles:
        fix = (
            "It settles within seconds when all nodes hear each other; else compare `appliance show carp` of all nodes."
        )
        yield _problem(Health.WARN, "this node is MASTER of some virtual hosts only", fix)


def _link_problem(link: LinkChanged) -> Fact:
    if not link.present:
        fix = "Check the name of the device in the configuration, and that its driver is loaded."
        return _problem(Health.FAIL, f"device {link.device} of {link.interface} does not exist", fix)
    fix = "Check the cable, the switch port and that the device is up."
    return _problem(Health.FAIL, f"{link.interface} ({link.device}) has no link", fix)


def _sick_parts(appliance: ApplianceView, said: set[str], keys: set[str]) -> Iterator[Fact]:
    """What is sick, unless its source (in `said`) or an alarm (in `keys`) has said it better."""
    for plugin in appliance.plugins.entries:
        if plugin.state in SICK_PLUGINS and f"plugin/{plugin.name}" not in keys:
            what = f"plugin {plugin.name} ({plugin.distribution}) is {plugin.state}: {_line(plugin.error)}"
            yield _problem(Health.FAIL, what, "See `appliance show plugins`; fix its table or its installation.")
    for service in appliance.supervisor.services():
        if service.state in SICK_SERVICES:
            what = f"service {service.name} is down ({service.state}): {_line(service.error)}"
            fix = f"Look at the node's log; its code comes from {service.distribution}."
            yield _problem(Health.FAIL, what, fix)
    for envelope, status in _facts(appliance, Status):
        if status.health is not Health.OK and envelope.source not in said:
            fix = status.fix or "See `appliance show services` and `appliance doctor`."
            yield _problem(status.health, f"{envelope.source}: {status.summary}", fix)


def _problem(health: Health | str, what: str, fix: str) -> Fact:
    return {"what": what, "fix": fix, "health": str(health)}


def _ordered(problems: Iterator[Fact]) -> list[Fact]:
    return sorted(problems, key=lambda problem: problem["health"] != Health.FAIL)


def _line(error: str | None) -> str:
    return (error or "no reason given").strip().partition("\n")[0]
