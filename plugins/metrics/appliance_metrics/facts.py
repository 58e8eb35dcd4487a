"""Numbers made of what all plugins tell the node: roles, demotion, peers, alarms, links, services. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from appliance.events import (
    Alarm,
    ConfigApplied,
    Count,
    Demotion,
    Event,
    Health,
    LinkChanged,
    LoopStalled,
    NodeStarted,
    PeerChanged,
    Retracted,
    Role,
    RoleChanged,
    Sample,
)

FACTS_MAX = 4096
"""Facts of each sort; what comes beyond is not counted."""
FACTS: tuple[type[Event], ...] = (
    NodeStarted,
    RoleChanged,
    Demotion,
    PeerChanged,
    Alarm,
    LinkChanged,
    ConfigApplied,
    LoopStalled,
    Retracted,
)
"""What numbers are made of."""
ROLES = tuple(role for role in Role if role is not Role.REMOVED)


def name_of(kind: type[Event]) -> str:
    """As `Retracted` has it."""
    return f"{kind.__module__}:{kind.__qualname__}"


class Facts:
    """What holds now, and how often it changed."""

    def __init__(self) -> None:
        self._held: dict[str, dict[tuple[object, ...], Event]] = {}
        self._changes: dict[tuple[str, str], int] = {}
        self._stalls = 0
        self._stalled_s = 0.0

    def take(self, event: Event) -> None:
        """Note what an event says."""
        match event:
            case Retracted(event_type=kind, key=key):
                self._held.get(kind, {}).pop(tuple(key), None)
            case LoopStalled(stalls=stalls, total_s=total_s):
                self._stalls += stalls
                self._stalled_s += total_s
            case RoleChanged(interface=interface, vhid=vhid, role=Role.REMOVED):
                self._held.get(name_of(RoleChanged), {}).pop((interface, vhid), None)
                self._changes.pop((interface, str(vhid)), None)
            case Demotion(reason=reason, weight=0):
                self._held.get(name_of(Demotion), {}).pop((reason,), None)
            case Alarm(key=key, active=False):
                self._held.get(name_of(Alarm), {}).pop((key,), None)
            case _ if type(event) in FACTS:
                self._hold(event)
            case _:
                return

    def _hold(self, event: Event) -> None:
        key = tuple(getattr(event, field) for field in event.retain_by or ())
        held = self._held.setdefault(name_of(type(event)), {})
        before = held.get(key)
        if before is None and len(held) >= FACTS_MAX:
            return
        held[key] = event
        if isinstance(event, RoleChanged):
            label = (event.interface, str(event.vhid))
            changed = isinstance(before, RoleChanged) and before.role is not event.role
            self._changes[label] = self._changes.get(label, 0) + int(changed)

    def samples(self) -> Iterator[Sample]:
        """Everything as numbers."""
        yield from self._roles()
        yield from self._peers()
        yield from self._node()

    def _all(self, kind: type[Event]) -> Iterable[Event]:
        return self._held.get(name_of(kind), {}).values()

    def _roles(self) -> Iterator[Sample]:
        labels = ("interface", "vhid", "role")
        for event in self._all(RoleChanged):
            assert isinstance(event, RoleChanged)
            for role in ROLES:
                values = (event.interface, str(event.vhid), str(role))
                yield gauge(
                    "ha_role", "1 for the role of a virtual host on this node", event.role is role, labels, values
                )
        for key, count in self._changes.items():
            text = "Changes of the role of a virtual host"
            yield counter("ha_role_changes", text, count, ("interface", "vhid"), key)
        for event in self._all(Demotion):
            assert isinstance(event, Demotion)
            yield gauge("ha_demotion", "Weight of each reason of demotion", event.weight, ("reason",), (event.reason,))

    def _peers(self) -> Iterator[Sample]:
        for event in self._all(PeerChanged):
            assert isinstance(event, PeerChanged)
            peer = (event.peer,)
            healthy = event.alive and event.healthy
            yield gauge("ha_peer_alive", "1 while another node is heard", event.alive, ("peer",), peer)
            yield gauge("ha_peer_healthy", "1 while another node could take over", healthy, ("peer",), peer)
            yield gauge("ha_peer_demotion", "Demotion of another node", event.demotion, ("peer",), peer)

    def _node(self) -> Iterator[Sample]:
        for event in self._all(NodeStarted):
            assert isinstance(event, NodeStarted)
            labels, values = ("node", "version"), (event.node, event.version)
            yield gauge("build_info", "Name and version of the node", 1, labels, values)
        yield from self._alarms()
        yield from self._state()

    def _alarms(self) -> Iterator[Sample]:
        counts = dict.fromkeys((Health.WARN, Health.FAIL), 0)
        for event in self._all(Alarm):
            assert isinstance(event, Alarm)
            counts[event.health] = counts.get(event.health, 0) + 1
            yield gauge(
                "alarm", "1 for each alarm that is raised", 1, ("key", "health"), (event.key, str(event.health))
            )
        for health, count in counts.items():
            yield gauge("alarms", "Alarms that are raised", count, ("health",), (str(health),))

    def _state(self) -> Iterator[Sample]:
        for event in self._all(LinkChanged):
            assert isinstance(event, LinkChanged)
            labels, values = ("interface", "device"), (event.interface, event.device)
            yield gauge("interface_up", "1 while frames can pass at an interface", event.up, labels, values)
        for event in self._all(ConfigApplied):
            assert isinstance(event, ConfigApplied)
            yield gauge("config_revision", "The configuration in force", event.revision)
        yield counter("loop_stalls", "Times that a task kept the event loop from running", self._stalls)
        yield counter("loop_stalled_seconds", "How long tasks kept the event loop from running", self._stalled_s)


def counts(found: Mapping[str, Count]) -> Iterator[Sample]:
    """The named counters of the node's nftables table."""
    for name, count in found.items():
        yield counter("ruleset_packets", "Packets that a named counter has seen", count.packets, ("counter",), (name,))
        yield counter("ruleset_bytes", "Bytes that a named counter has seen", count.bytes, ("counter",), (name,))


def gauge(name: str, text: str, value: float, labels: tuple[str, ...] = (), values: tuple[str, ...] = ()) -> Sample:
    """A number that goes up and down."""
    return Sample(f"appliance_{name}", "gauge", text, labels, values, float(value))


def counter(name: str, text: str, value: float, labels: tuple[str, ...] = (), values: tuple[str, ...] = ()) -> Sample:
    """A number that only grows."""
    return Sample(f"appliance_{name}_total", "counter", text, labels, values, float(value))
