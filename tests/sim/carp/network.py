"""A small simulator for election machines: a heap of events, virtual time, no sleeping.

Nodes hang on broadcast networks (one per logical interface). Per network and direction a message may be cut,
delayed or lost; a node may lose a link, freeze (SIGSTOP: its socket keeps filling; or with a deaf kernel), die
and restart. Hellos travel over every network, the sync network included. Adverts carry real stamps, judged by
real witnesses.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import defaultdict
from collections.abc import Callable, Iterable

from appliance_carp.machine import (
    Activate,
    Announce,
    Changed,
    Count,
    Deactivate,
    Effect,
    GroupSettings,
    Heard,
    Machine,
    Note,
    PeerView,
    SendAdvert,
    State,
    VhidKey,
)
from appliance_carp.stamp import TICKS_PER_S, Stamper, Verdict, Witness

SYNC = "sync"
SILENT_HELLOS = 3.5
PASSWORD = "mekmitasdigoat"


class Node:
    """One machine with its driver."""

    def __init__(self, network: Network, name: str, number: int, settings: GroupSettings, *, fast: bool) -> None:
        self.network = network
        self.name = name
        self.number = number
        self.settings = settings
        self.fast = fast
        self.alive = False
        self.frozen = False
        self.deaf = False
        self.enabled = True
        self.links: dict[str, bool] = {}
        self.inbox: list[Callable[[], None]] = []
        self.open: set[VhidKey] = set()
        self.counts: dict[str, int] = defaultdict(int)
        self.notes: list[Note] = []
        self.announced: list[tuple[float, VhidKey]] = []
        self.changes: list[tuple[float, Changed]] = []
        self.sent: list[tuple[float, SendAdvert]] = []
        self.states: dict[VhidKey, State] = {}
        self.floor = 0
        self.generation = 0
        self.machine = Machine(settings, jitter=network.random.random)
        self.all_sources = frozenset(self.source(interface) for interface in network.interfaces)

    def source(self, interface: str) -> str:
        return f"10.{self.network.interfaces.index(interface)}.0.{self.number}"

    def masters(self) -> set[VhidKey]:
        return {key for key, state in self.states.items() if state is State.MASTER}

    # --- life ----------------------------------------------------------------------------------------------

    def boot(self) -> None:
        self.alive, self.frozen, self.deaf, self.enabled = True, False, False, True
        self.generation += 1
        self.inbox.clear()
        self.open.clear()
        self.states = dict.fromkeys((each.key for each in self.settings.vhids), State.INIT)
        self.pending = -1.0
        self.views: dict[str, tuple[float, PeerView]] = {}
        self.told: tuple[PeerView, ...] = ()
        self.machine = Machine(self.settings, jitter=self.network.random.random)
        keys = [each.key for each in self.settings.vhids]
        self.stampers = {key: Stamper(PASSWORD, key[1], floor=self.floor) for key in keys}
        self.witnesses = {key: Witness(PASSWORD, key[1], self.stampers[key]) for key in keys}
        now = self.network.now
        for interface in self.network.interfaces:
            self.do(self.machine.set_link(interface, self.links.get(interface, True), now))
        self.do(self.machine.start(now))
        self.say_hello()

    def power_off(self) -> None:
        if self.network.stamped:
            self.floor = max(stamper.sequence for stamper in self.stampers.values())
        self.alive = False
        self.open.clear()
        self.states.clear()
        self.network.observe()

    def link(self, interface: str, up: bool) -> None:
        self.links[interface] = up
        if self.alive:
            self.when_awake(lambda: self.do(self.machine.set_link(interface, up, self.network.now)))

    def freeze(self, *, deaf: bool = False) -> None:
        self.frozen, self.deaf = True, deaf

    def thaw(self) -> None:
        if not self.frozen:
            return
        self.frozen = self.deaf = False
        waiting, self.inbox = self.inbox, []
        for action in waiting:
            action()
        self.tick()
        if self.alive and self.network.now >= self.next_hello:
            self.say_hello()

    def when_awake(self, action: Callable[[], None]) -> None:
        if self.frozen:
            self.inbox.append(action)
        else:
            action()
            self.schedule()

    def set_enabled(self, on: bool) -> None:
        self.enabled = on
        self.do(self.machine.set_enabled(on, self.network.now))

    # --- timers --------------------------------------------------------------------------------------------

    def schedule(self) -> None:
        deadline = self.machine.next_deadline()
        if deadline is not None and self.alive and deadline != self.pending:
            self.pending = deadline
            generation = self.generation
            self.network.at(max(deadline, self.network.now), lambda: self.wake(generation, deadline))

    def wake(self, generation: int, deadline: float) -> None:
        if self.alive and not self.frozen and generation == self.generation and self.pending == deadline:
            self.pending = -1.0
            self.tick()

    def tick(self) -> None:
        if self.alive:
            self.do(self.machine.tick(self.network.now))

    # --- effects -------------------------------------------------------------------------------------------

    def do(self, effects: Iterable[Effect]) -> None:
        now = self.network.now
        for effect in effects:
            match effect:
                case SendAdvert():
                    self.send(effect)
                case Activate(key):
                    self.open.add(key)
                case Deactivate(key):
                    self.open.discard(key)
                case Announce(key):
                    assert key in self.open
                    self.announced.append((now, key))
                case Changed(key, old, new):
                    assert self.states[key] is old
                    self.states[key] = new
                    self.changes.append((now, effect))
                    self.network.observe()
                case Count(_, counter):
                    self.counts[counter] += 1
                case Note():
                    self.notes.append(effect)
        if not self.frozen:
            self.schedule()

    def send(self, advert: SendAdvert) -> None:
        interface = advert.key[0]
        if self.network.keep_sent:
            self.sent.append((self.network.now, advert))
        if not advert.only_sync:
            assert advert.advbase == 255 or advert.key in self.open, "a BACKUP must be mute"
            self.broadcast(interface, advert, interface)
        if advert.copy_to_sync and SYNC in self.network.interfaces:
            self.broadcast(SYNC, advert, interface)

    def broadcast(self, interface: str, advert: SendAdvert, origin: str) -> None:
        source = self.source(interface)
        counter = 0
        if self.network.stamped:
            counter = self.stampers[advert.key].next(source, int(self.network.now * TICKS_PER_S))
        via_sync = interface != origin
        self.network.carry(self, interface, lambda peer: peer.hear(advert, source, counter, via_sync))

    def hear(self, advert: SendAdvert, source: str, counter: int, via_sync: bool) -> None:
        own_kind = True
        if self.network.stamped:
            witness = self.witnesses.get(advert.key)
            if witness is None:
                return
            verdict = witness.judge(counter, source, self.all_sources)
            self.counts[verdict.value] += 1
            if verdict not in (Verdict.OWN_KIND, Verdict.FOREIGN):
                return
            own_kind = verdict is Verdict.OWN_KIND
        heard = Heard(
            key=advert.key,
            family=advert.family,
            source=source,
            advbase=advert.advbase,
            advskew=advert.advskew,
            demote=advert.demote,
            own_kind=own_kind,
            via_sync=via_sync,
            own_source=self.source(advert.key[0]),
        )
        self.do(self.machine.receive(heard, self.network.now))

    # --- hellos --------------------------------------------------------------------------------------------

    def say_hello(self) -> None:
        now = self.network.now
        self.next_hello = now + self.network.hello_s
        serving = {key for key, state in self.states.items() if state in (State.BACKUP, State.MASTER)}
        view = PeerView(
            name=self.name,
            alive=True,
            enabled=self.enabled,
            maintenance="maintenance" in self.machine.reasons,
            demotion=self.machine.demotion,
            fast=self.fast,
            serves=frozenset(serving),
            skews={each.key: each.advskew for each in self.settings.vhids},
            sources=self.all_sources,
        )
        for interface in self.network.interfaces:
            self.network.carry(self, interface, lambda peer: peer.hear_hello(view))
        self.look_at_peers()
        generation = self.generation
        self.network.at(self.next_hello, lambda: self.hello_due(generation))

    def hello_due(self, generation: int) -> None:
        if self.alive and not self.frozen and generation == self.generation:
            self.say_hello()

    def hear_hello(self, view: PeerView) -> None:
        self.views[view.name] = (self.network.now, view)
        self.look_at_peers()

    def look_at_peers(self) -> None:
        now = self.network.now
        views = []
        for at, view in self.views.values():
            living = now - at <= SILENT_HELLOS * self.network.hello_s
            views.append(view if living else PeerView(name=view.name, alive=False, sources=view.sources))
        if tuple(views) != self.told:
            self.told = tuple(views)
            for witness in self.witnesses.values():
                witness.expect(source for view in views for source in view.sources)
            self.do(self.machine.set_peers(views, now))


class Network:
    """All nodes and networks, and the clock."""

    def __init__(
        self, interfaces: Iterable[str], *, seed: int = 1, latency_s: float = 0.0005, stamped: bool = True
    ) -> None:
        self.interfaces = list(interfaces)
        self.random = random.Random(seed)
        self.latency_s = latency_s
        self.jitter_s = 0.0
        self.loss = 0.0
        self.stamped = stamped
        self.keep_sent = True
        self.hello_s = 1.0
        self.now = 1000.0
        self.nodes: list[Node] = []
        self.cuts: set[tuple[str, str, str]] = set()
        self.carried = 0
        self.double_since: dict[VhidKey, float] = {}
        self.longest_double: dict[VhidKey, float] = defaultdict(float)
        self.orphan_since: dict[VhidKey, float] = {}
        self.longest_orphan: dict[VhidKey, float] = defaultdict(float)
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._watched: list[VhidKey] = []

    def add(self, name: str, settings: GroupSettings, *, fast: bool = True, boot: bool = True) -> Node:
        node = Node(self, name, len(self.nodes) + 2, settings, fast=fast)
        self.nodes.append(node)
        self._watched = [each.key for each in settings.vhids]
        if boot:
            node.boot()
        return node

    # --- time ----------------------------------------------------------------------------------------------

    def at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), action))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        events = self._events
        while events and events[0][0] <= end:
            self.now, _, action = heapq.heappop(events)
            action()
        self.now = end

    # --- carrying ------------------------------------------------------------------------------------------

    def carry(self, sender: Node, interface: str, deliver: Callable[[Node], None]) -> None:
        if not sender.links.get(interface, True):
            return
        for peer in self.nodes:
            if peer is sender or (interface, sender.name, peer.name) in self.cuts:
                continue
            if self.loss and self.random.random() < self.loss:
                continue
            delay_s = self.latency_s + (self.random.random() * self.jitter_s if self.jitter_s else 0.0)
            self.carried += 1
            self.at(self.now + delay_s, lambda peer=peer: self._arrive(peer, interface, deliver))  # type: ignore[misc]

    def _arrive(self, peer: Node, interface: str, deliver: Callable[[Node], None]) -> None:
        if peer.alive and not peer.deaf and peer.links.get(interface, True):
            peer.when_awake(lambda: deliver(peer))

    def cut(self, interface: str, sender: str, receiver: str, *, both: bool = True) -> None:
        self.cuts.add((interface, sender, receiver))
        if both:
            self.cuts.add((interface, receiver, sender))

    def heal(self) -> None:
        self.cuts.clear()

    # --- watching ------------------------------------------------------------------------------------------

    def masters(self, key: VhidKey) -> list[str]:
        return [node.name for node in self.nodes if key in node.masters()]

    def observe(self) -> None:
        """Keep the books on how long a VHID had two masters, or none."""
        for key in self._watched:
            count = sum(node.states.get(key) is State.MASTER for node in self.nodes)
            self._account(self.double_since, self.longest_double, key, count > 1)
            self._account(self.orphan_since, self.longest_orphan, key, count == 0)

    def _account(self, since: dict[VhidKey, float], longest: dict[VhidKey, float], key: VhidKey, holds: bool) -> None:
        if holds:
            longest[key] = max(longest[key], self.now - since.setdefault(key, self.now))
        else:
            started = since.pop(key, None)
            if started is not None:
                longest[key] = max(longest[key], self.now - started)

    def forget_the_past(self) -> None:
        for books in (self.double_since, self.longest_double, self.orphan_since, self.longest_orphan):
            books.clear()
        self.observe()
