"""What this node tells: hellos to the other nodes; demotion, peers and alarms to the bus.

And what it hears of the others in return, because one follows from the other.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from appliance.events import Alarm, Demotion, Health, PeerChanged, Status
from appliance.identity.remedy import PAIR
from appliance_carp import hello
from appliance_carp.alarms import AlarmBook, Trouble
from appliance_carp.host import VirtualHost
from appliance_carp.keychain import KeyChain
from appliance_carp.peers import PeerBook
from appliance_carp.port import UNSPECIFIED
from appliance_carp.vocabulary import State, VhidKey

if TYPE_CHECKING:
    from appliance_carp.station import Station

RESIGNED = (
    "After a switchover this node takes nothing back for an hour, unless the MASTER fails; "
    "`appliance ha enable` on it lets it come back at once."
)
"""What comes after a switchover (`machine.RESIGN_S`)."""
REANNOUNCE_MAX = 20
"""Answers at once and in a row to one claimant of a virtual address; then only one in `ANNOUNCE_AGAIN_S`."""
ANNOUNCE_AGAIN_S = 1.2
"""Linux believes no second change of a neighbour entry within a second (`neigh/*/locktime`): the answer that follows
a false claim at once is ignored by exactly those that believed the claim."""
CLAIM_FORGOTTEN_S = 10.0
RECENT_MAX = 256
"""Hello packets remembered to skip their copies: four nodes in sixteen parts each, under several keys."""
CLAIMANTS_MAX = 64
"""MAC addresses remembered as claimants; a flood of forged ones must not fill the memory."""


class Herald:
    """The voice of one station."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self.peers = PeerBook()
        self.alarms = AlarmBook()
        self.status_due = True
        """Our own status line may have changed; making it costs a look at every virtual host."""
        self.hello_due = True
        """Something a peer should know at once has changed."""
        self.known_sources: frozenset[str] = frozenset()
        """Addresses of peers known from hellos."""
        self.greetings: dict[tuple[str, str], float] = {}
        """When a hello, or a copy of one, came in last: by logical interface and source, of known peers only."""
        self.facts: dict[str, PeerChanged] = {}
        """What the bus knows of each peer."""
        self.since: dict[str, float] = {}
        """Wall clock since when a demotion reason stands."""
        self._published: dict[str, int] = {}
        self._claims: dict[str, tuple[int, float]] = {}
        self._again: dict[VhidKey, tuple[float, float]] = {}
        """When an address that was claimed has to be announced once more, and when it was last claimed."""
        self._statuses: tuple[hello.VhidStatus, ...] | None = None
        self._offers: tuple[hello.Offer, ...] = ()
        self._recent: set[bytes] = set()
        self._sequence = 0
        self._status: Status | None = None
        self.keys = KeyChain(_keys(station.settings.password, ()))
        self.assembler = hello.Assembler(*self.keys.accepted)

    def take_secrets(self, password: str, paired: Sequence[bytes]) -> None:
        """Speak under the key of the pairing from now on, without one under that of the password."""
        self.take_keys(_keys(password, paired))

    def take_keys(self, keys: Sequence[hello.HelloKey]) -> None:
        """Prefer the first of these; what was used before is used as well until every known node has it, too."""
        self.keys.take(keys, keep=bool(self._station.mates()))
        self.assembler.accept(self.keys.accepted)

    def restore_keys(self, former: Iterable[hello.HelloKey]) -> None:
        """Use these as well, which were in use before a restart."""
        self.keys = KeyChain(self.keys.accepted, former)
        self.assembler.accept(self.keys.accepted)

    def forget_keys(self) -> bool:
        """Give up former keys when every known node has spoken under the preferred one; whether there were any."""
        if not self.keys.forget(self._station.mates(), self.assembler.prefers):
            return False
        self.assembler.accept(self.keys.accepted)
        return True

    def raise_alarm(self, trouble: Trouble, now: float, **words: object) -> None:
        """Note trouble on the wire and tell everybody when it is new."""
        alarm = self.alarms.saw(trouble, now, **words)  # type: ignore[arg-type]
        if alarm is not None:
            self._station.ctx.log.warning("carp_alarm", what=alarm.what)
            self._station.ctx.publish(alarm)

    def publish_alarms(self, alarms: Iterable[Alarm]) -> None:
        """Tell everybody about alarms that are over."""
        for alarm in alarms:
            self._station.ctx.publish(alarm)

    def publish_demotion(self) -> None:
        """Bring the bus in line with the machine's own reasons (links, maintenance, sending)."""
        own = {name: weight for name, weight in self._station.machine.reasons.items() if is_own_reason(name)}
        for name in self._published.keys() - own.keys():
            self._station.ctx.publish(Demotion(reason=name, weight=0))
        for name, weight in own.items():
            if self._published.get(name) != weight:
                self._station.ctx.publish(Demotion(reason=name, weight=weight))
        if own != self._published:
            self.hello_due = True
        self._published = own
        wall = time.time()
        self.since = {name: self.since.get(name, wall) for name in self._station.machine.reasons}

    def publish_status(self) -> None:
        """One line about this service for `show services` and `show ha`, published when it changes."""
        self.status_due = False
        status = status_of(self._station)
        if status != self._status:
            self._status = status
            self._station.ctx.publish(status)

    def hellos(self) -> list[bytes]:
        """The next hello of this node, under each key that somebody may need."""
        self._sequence += 1
        said = self._hello()
        return [part for key in self.keys.spoken for part in hello.encode(said, key)]

    def _hello(self) -> hello.Hello:
        station = self._station
        return hello.Hello(
            node=station.settings.node,
            incarnation=station.incarnation,
            sequence=self._sequence,
            demotion=station.machine.demotion,
            enabled=station.enabled,
            maintenance=station.maintenance,
            fast=station.settings.profile == "fast",
            preempt=station.settings.preempt,
            vhids=self._vhid_statuses(),
            offers=self._offers,
            sources={port.name: tuple(sorted(port.every_own)) for port in station.all_ports()},
        )

    def _vhid_statuses(self) -> tuple[hello.VhidStatus, ...]:
        """Every virtual host as the others hear of it; made anew only after something has changed."""
        if self._statuses is None:
            hosts = self._station.hosts
            self._statuses = tuple(
                hello.VhidStatus(
                    report.key,
                    report.state,
                    hosts[report.key].settings.advskew,
                    hosts[report.key].settings.families,
                    hosts[report.key].fingerprint,
                )
                for report in self._station.machine.reports()
            )
            self._offers = tuple(
                hello.Offer(key, edition, staged=edition == host.transaction.wanted)
                for key, host in hosts.items()
                for edition in host.transaction.accepted[1:]
            )
        return self._statuses

    def roles_changed(self) -> None:
        """Roles, virtual hosts or their settings have changed: peers and the bus are to know."""
        self._statuses = None
        self.hello_due = self.status_due = True

    def is_copy(self, payload: bytes) -> bool:
        """Whether this very packet has just been taken in from another interface; remembers it."""
        if payload in self._recent:
            return True
        if len(self._recent) >= RECENT_MAX:
            self._recent.clear()
        self._recent.add(payload)
        return False

    def send_hellos(self) -> None:
        """Send it on the sync interface and, unless configured otherwise, on the CARP interfaces."""
        self.hello_due = False
        parts = self.hellos()
        for port in self._station.all_ports():
            if port.up and (port is self._station.sync or self._station.settings.hello == "all"):
                family = next((each for each in (4, 6) if each in port.own), 4)
                if port.source(family) == UNSPECIFIED[family] and port is not self._station.sync:
                    continue
                for part in parts:
                    port.send_advert(part, family, port.mac)

    def peers_changed(self, now: float) -> None:
        """A peer said something new, or fell silent: the election, the bus and the witnesses hear of it."""
        self._station.perform(self._station.machine.set_peers(self.peers.views(self._station.renamed()), now))
        self.known_sources = frozenset(source for view in self.peers.views() for source in view.sources)
        self.greetings = {place: at for place, at in self.greetings.items() if place[1] in self.known_sources}
        for fact in self.peers.facts(self._station.machine.demotion):
            if self.facts.get(fact.peer) != fact:
                self.facts[fact.peer] = fact
                self._station.ctx.publish(fact)
                if fact.alive:
                    self.publish_alarms(self.alarms.clear(Trouble.PEER_LOST, fact.peer))
        self._station.staging.consider(now)
        self._station.wake_waiters()

    def claimed_by_stranger(self, host: VirtualHost, address: str, mac: str, now: float) -> None:
        """Somebody announces one of our addresses with another MAC: a duplicate, or a parting ucarp.

        A MASTER announces the right MAC again: at once, at most `REANNOUNCE_MAX` times in a row per claimant, so
        that two stubborn machines do not shout at each other for ever; and slowly, as long as the claims go on.
        """
        vmac = self._station.vmacs.get(host.vhid_key)
        if vmac is None or not vmac.is_open:
            return
        self.raise_alarm(
            Trouble.DUPLICATE,
            now,
            interface=host.settings.interface,
            vhid=host.settings.vhid,
            source=mac,
            detail=address,
        )
        count, at = self._claims.get(mac, (0, 0.0))
        count = count + 1 if now - at < CLAIM_FORGOTTEN_S else 1
        if mac in self._claims or len(self._claims) < CLAIMANTS_MAX:
            self._claims[mac] = (count, now)
        if count <= REANNOUNCE_MAX:
            self._station.announce(host.vhid_key, host.settings.all_addresses)
        due, _ = self._again.get(host.vhid_key, (now + ANNOUNCE_AGAIN_S, now))
        self._again[host.vhid_key] = (due, now)

    def announce_again(self, now: float) -> None:
        """Repeat the answers to claims that are due; a virtual host that was handed over in the meantime is silent."""
        station = self._station
        for key in [key for key, (due, _) in self._again.items() if due <= now]:
            _, claimed_at = self._again.pop(key)
            if key not in station.hosts or key not in station.vmacs or not station.vmacs[key].is_open:
                continue
            station.announce(key, station.hosts[key].settings.all_addresses)
            if now < claimed_at + ANNOUNCE_AGAIN_S:  # too early for whoever believed the last claim
                self._again[key] = (claimed_at + ANNOUNCE_AGAIN_S, claimed_at)


def _keys(password: str, paired: Sequence[bytes]) -> list[hello.HelloKey]:
    return [hello.HelloKey(each) for each in paired or ([password.encode()] if password else [])]


def status_of(station: Station) -> Status:
    """The service's summary: how many hosts it holds, and what keeps it from holding them."""
    states = [report.state for report in station.machine.reports()]
    masters = states.count(State.MASTER)
    summary = f"MASTER of {masters} of {len(states)} virtual hosts"
    if not station.enabled:
        summary += "; disabled by command ('ha enable' ends it)"
        return Status(health=Health.WARN, summary=summary, fix="`appliance ha enable` lets it take part again.")
    if station.maintenance:
        summary += "; in maintenance ('ha maintenance off' ends it)"
        return Status(health=Health.WARN, summary=summary, fix="`appliance ha maintenance off` when the work is done.")
    if station.machine.resigned:
        return Status(summary=f"{summary}; handed over on request ('ha enable' lets it come back)", fix=RESIGNED)
    if station.left_out:
        summary += f"; {station.left_out} without a password of the pairing or of [carp]"
        return Status(health=Health.WARN, summary=summary, fix=PAIR)
    if waiting := station.staging.waiting:
        return Status(health=Health.WARN, summary=f"{summary}; a change is staged: {say_waiting(waiting)}")
    if State.INIT in states:
        return Status(health=Health.WARN, summary=f"{summary}; {states.count(State.INIT)} without link")
    return Status(summary=summary)


def say_waiting(waiting: Mapping[str, str]) -> str:
    """Whom a staged change waits for, in words."""
    return ", ".join(f"{name} {why}" for name, why in sorted(waiting.items())) + " ('ha commit')"


def is_own_reason(name: str) -> bool:
    """Whether a demotion reason is this plugin's own; all others come from other services."""
    return name.startswith(("link:", "send:")) or name == "maintenance"
