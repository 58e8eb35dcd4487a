"""Changes of passwords, addresses and VHIDs on two to four nodes: nobody rejects what another one says.

Every node holds a real `Transaction`; hellos and adverts are lost, delayed and overtaken, nodes restart, networks
part, configurations arrive in any order, are reverted and replaced while they are staged. What must hold: an advert
of a node whose hellos are heard, and which hears ours, is always accepted; and once everybody has the same
configuration and is heard, everybody has put it in force.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance_carp.transaction import Edition, Stance, Transaction

HELLO_S = 1.0
SILENT_S = 3.5
"""As in `appliance_carp.peers`."""
LATE_S = 0.3
"""An advert may be so late that two hellos have overtaken it on the way."""
EDITIONS = [Edition(1 + number % 2, bytes((number,)) * 8) for number in range(6)]


@dataclass
class Member:
    """One node: a transaction, what it heard of the others, what is left of it while it is off."""

    name: str
    held: Transaction
    configured: Edition
    heard: dict[str, tuple[float, Stance]] = field(default_factory=dict)
    mates: set[str] = field(default_factory=set)
    is_on: bool = True

    def stances(self, now: float) -> list[Stance]:
        """What it believes of everybody that it knows of."""
        found = []
        for name in sorted(self.mates):
            at, said = self.heard.get(name, (-SILENT_S, Stance(name, False, None)))
            alive = self.is_alive(name, now)
            found.append(Stance(name, alive, said.active, said.wanted, said.kept) if said.active else said)
            assert at <= now
        return found

    def is_alive(self, name: str, now: float) -> bool:
        return name in self.heard and now - self.heard[name][0] <= SILENT_S

    def consider(self, now: float) -> None:
        """As `appliance_carp.staging` does with one virtual host that waits for who is away."""
        self.held.drop(self.stances(now), now)
        if self.held.is_open and not self.held.waits_for(self.stances(now), absent_too=True):
            self.held.switch(now)

    def restart(self, now: float) -> None:
        """What it accepts is remembered, what it has heard is not."""
        active, *rest = self.held.accepted
        self.held = Transaction(active)
        self.held.want(self.configured, now)
        for edition in rest:
            self.held.restore(edition, now)
        self.heard.clear()
        self.is_on = True


class World:
    """Nodes, messages on their way, and a clock."""

    def __init__(self, count: int, seed: int, loss: float) -> None:
        self.random = random.Random(seed)
        self.loss = loss
        self.now = 100.0
        self.members = [Member(f"fw{number}", Transaction(EDITIONS[0]), EDITIONS[0]) for number in range(1, count + 1)]
        self.parted: set[str] = set()
        self.rejected: list[str] = []
        self.understood = 0
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        for member in self.members:
            self.at(self.random.random() * HELLO_S, lambda member=member: self.speak(member))  # type: ignore[misc]
        self.run(5)

    def at(self, delay_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + delay_s, next(self._order), action))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._events[0][0] <= end:
            self.now, _, action = heapq.heappop(self._events)
            action()
        self.now = end

    def speak(self, member: Member) -> None:
        """A hello and an advert, each on its own way."""
        self.at(HELLO_S, lambda: self.speak(member))
        if member.is_on:
            self.say_hello(member)
            self.advertise(member)

    def say_hello(self, member: Member) -> None:
        member.consider(self.now)
        held = member.held
        said = Stance(member.name, True, held.active, held.wanted if held.is_open else None, frozenset(held.kept))
        sent_at = self.now
        self._carry(member, lambda peer: self._hear_hello(peer, said, sent_at), 0.01)

    def _hear_hello(self, peer: Member, said: Stance, sent_at: float) -> None:
        if sent_at < peer.heard.get(said.name, (0.0, said))[0]:
            return  # overtaken
        peer.heard[said.name] = (sent_at, said)
        peer.mates.add(said.name)
        before = peer.held.active
        peer.consider(self.now)
        if peer.held.active != before:
            self.say_hello(peer)

    def advertise(self, member: Member) -> None:
        edition = member.held.sending(member.stances(self.now))
        known = {name for name in member.mates if member.is_alive(name, self.now)}
        self._carry(member, lambda peer: self._hear_advert(peer, member.name, edition, known), LATE_S)

    def _hear_advert(self, peer: Member, sender: str, edition: Edition, known: set[str]) -> None:
        if edition in peer.held.accepted:
            self.understood += 1
        elif peer.name in known and peer.is_alive(sender, self.now):
            self.rejected.append(f"{self.now:.3f} {sender} > {peer.name}: {edition} is none of {peer.held.accepted}")

    def _carry(self, sender: Member, deliver: Callable[[Member], None], late_s: float) -> None:
        for peer in self.members:
            parted = (sender.name in self.parted) != (peer.name in self.parted)
            if peer is sender or parted or self.random.random() < self.loss:
                continue
            self.at(self.random.random() * late_s, lambda peer=peer: peer.is_on and deliver(peer))  # type: ignore[misc]

    def configure(self, member: Member, edition: Edition) -> None:
        """A commit, or what another node has sent."""
        member.configured = edition
        if member.is_on:
            member.held.want(edition, self.now)
            member.consider(self.now)
            self.say_hello(member)

    def settle(self, edition: Edition) -> None:
        """Everybody is there, hears everybody, and has the same configuration in the end."""
        self.parted.clear()
        self.loss = min(self.loss, 0.2)
        for member in self.members:
            if not member.is_on:
                member.restart(self.now)
            self.configure(member, edition)
        self.run(40)
        assert [member.held.active for member in self.members] == [edition] * len(self.members)
        self.run(90)
        assert [member.held.accepted for member in self.members] == [(edition,)] * len(self.members)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_change_that_arrives_on_one_node_after_the_other_is_never_rejected(count: int) -> None:
    world = World(count, 1, 0.0)
    for member in world.members:
        world.configure(member, EDITIONS[1])
        world.run(2.5)
    assert world.members[0].held.active == EDITIONS[1]
    world.settle(EDITIONS[1])
    assert (world.rejected, world.understood > 50) == ([], True)


def test_a_change_waits_for_a_node_that_is_off() -> None:
    world = World(2, 1, 0.0)
    one, two = world.members
    two.is_on = False
    world.run(10)
    world.configure(one, EDITIONS[1])
    world.run(300)
    assert one.held.active == EDITIONS[0]
    world.configure(two, EDITIONS[1])
    two.restart(world.now)
    world.run(10)
    assert (one.held.active, two.held.active, world.rejected) == (EDITIONS[1], EDITIONS[1], [])


def test_a_node_that_is_restarted_in_the_middle_goes_on_with_what_the_others_understand() -> None:
    for delay_ms in range(0, 2000, 50):
        world = World(2, delay_ms, 0.0)
        one, two = world.members
        world.configure(one, EDITIONS[1])
        world.run(0.7)
        world.configure(two, EDITIONS[1])
        world.run(delay_ms / 1000)
        two.is_on = False
        world.run(0.5)
        two.restart(world.now)
        world.settle(EDITIONS[1])
        assert world.rejected == []


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    count=st.integers(2, 4),
    seed=st.integers(0, 1 << 30),
    loss=st.sampled_from([0.0, 0.1, 0.3]),
    story=st.lists(
        st.tuples(
            st.sampled_from(["configure", "configure", "configure", "off", "on", "part", "heal"]),
            st.integers(0, 3),
            st.integers(0, len(EDITIONS) - 1),
            st.sampled_from([0.0, 0.1, 0.5, 1.5, 4.0, 20.0, 100.0]),
        ),
        max_size=12,
    ),
)
def test_whatever_happens_no_node_rejects_what_another_one_says(
    count: int, seed: int, loss: float, story: list[tuple[str, int, int, float]]
) -> None:
    world = World(count, seed, loss)
    for what, which, edition, pause_s in story:
        member = world.members[which % count]
        if what == "configure":
            world.configure(member, EDITIONS[edition])
        elif what == "off":
            member.is_on = False
        elif what == "on" and not member.is_on:
            member.restart(world.now)
        elif what == "part":
            world.parted ^= {member.name}
        elif what == "heal":
            world.parted.clear()
        world.run(pause_s)
    world.settle(EDITIONS[story[-1][2] if story else 1])
    assert world.rejected == []
