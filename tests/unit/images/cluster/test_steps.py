"""The upgrade of a cluster in a simulation: nodes start, fail, fall silent; the leader forgets all but its disk."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from appliance_images.cluster import record as records
from appliance_images.cluster import steps
from appliance_images.cluster.record import Phase, Record, Report, start_of
from appliance_images.cluster.steps import Action

PATIENCE_S = 900.0
BOOT_S = 60.0
TICK_S = 3.0


@dataclass(slots=True)
class Node:
    """A machine with two slots; the old system is in a, and the new one may be sick."""

    name: str
    slot: str = "a"
    armed: str = ""
    """The slot that boots next on trial."""
    proved: bool = True
    starts: int = 0
    back_at: float = 0.0
    role: str = "BACKUP"
    is_sick: bool = False
    """The new system never proves healthy on this machine."""
    problems: tuple[str, ...] = ()

    def report(self, now: float) -> Report | None:
        if now < self.back_at:
            return None
        return Report(
            node=self.name,
            version="2" if self.slot == "b" else "1",
            slot=self.slot,
            is_good=self.proved and not self.armed,
            boot=str(self.starts),
            role=self.role,
            problems=self.problems,
        )

    def restart(self, now: float) -> None:
        self.starts += 1
        self.back_at = now + BOOT_S
        if self.armed:
            self.slot, self.armed = self.armed, ""
        if self.slot == "b" and self.is_sick:
            self.slot, self.back_at = "a", now + 3 * BOOT_S  # the boot loader has gone back by itself
        self.proved = True


class Cluster:
    """Both nodes, and what the leader has on its disk."""

    def __init__(self, **peer: object) -> None:
        self.own, self.peer = Node("fw1", role="MASTER"), Node("fw2")
        for name, value in peer.items():
            setattr(self.peer, name, value)
        self.now = 1000.0
        own, theirs = self.own.report(self.now), self.peer.report(self.now)
        assert own is not None
        assert theirs is not None
        self.disk = Record(file="f", version="2", own=start_of(own), peer=start_of(theirs), since=self.now)
        self.done: list[Action] = []
        self.served = True
        """Somebody was MASTER and up at every moment but those of a switchover."""

    @property
    def is_served(self) -> bool:
        return any(node.role == "MASTER" and self.now >= node.back_at for node in (self.own, self.peer))

    def hand_over(self, giver: Node, taker: Node) -> None:
        if self.now >= taker.back_at:
            giver.role, taker.role = "BACKUP", "MASTER"

    def perform(self, action: Action) -> str:
        self.done.append(action)
        match action:
            case Action.SEND:
                self.peer.armed = "b"
            case Action.RESTART_PEER:
                self.peer.restart(self.now)
            case Action.WRITE:
                self.own.armed = "b"
            case Action.SWITCH:
                self.hand_over(self.own, self.peer)
            case Action.RESTART_OWN:
                self.own.restart(self.now)
            case Action.SEND_BACK:
                if self.peer.slot == "a":
                    self.peer.armed = ""
                else:
                    self.hand_over(self.peer, self.own)
                    self.peer.armed = "a"
                    self.peer.restart(self.now)
            case Action.KEEP_OWN:
                self.own.armed = ""
        return ""

    def run(self, *, until_s: float = 6000.0, meddle: Callable[[Cluster], None] = lambda _: None) -> Record:
        """Look and act until it is over."""
        end = self.now + until_s
        while not self.disk.phase.is_over and self.now < end:
            meddle(self)
            self.look()
            self.now += TICK_S
            self.served = self.served and self.is_served
        assert self.disk.phase.is_over, self.disk
        return self.disk

    def look(self) -> None:
        own, peer = self.own.report(self.now), self.peer.report(self.now)
        if own is None:
            return
        known = records.decode(records.encode(self.disk))  # as after a restart
        after, action = steps.following(known, own, peer, self.now, PATIENCE_S)
        if action is not None:
            why = self.perform(action)
            after = steps.failed(after, action, why, self.now) if why else steps.succeeded(after, action, self.now)
        self.disk = after

    @property
    def slots(self) -> tuple[str, str]:
        return self.own.slot, self.peer.slot


def test_both_nodes_are_upgraded_one_after_the_other_and_somebody_always_serves() -> None:
    cluster = Cluster()
    assert cluster.run().phase is Phase.DONE
    assert cluster.slots == ("b", "b")
    assert cluster.done == [
        Action.SEND, Action.RESTART_PEER, Action.WRITE, Action.SWITCH, Action.RESTART_OWN
    ]  # fmt: skip
    assert cluster.served


def test_a_system_that_does_not_prove_healthy_on_the_first_node_never_reaches_the_second() -> None:
    cluster = Cluster(is_sick=True)
    record = cluster.run()
    assert record.phase is Phase.FAILED
    assert "fw2 went back to 1" in record.why
    assert cluster.slots == ("a", "a")
    assert Action.WRITE not in cluster.done
    assert cluster.served


def test_one_that_does_not_prove_healthy_on_the_second_is_taken_back_from_the_first() -> None:
    cluster = Cluster()
    cluster.own.is_sick = True
    record = cluster.run()
    assert record.phase is Phase.FAILED
    assert "both nodes run their old systems" in record.notes[-1][1]
    assert cluster.slots == ("a", "a")
    assert cluster.served
    assert cluster.own.role == "MASTER"


def test_a_first_node_that_never_comes_back_is_left_alone_and_the_other_serves_on() -> None:
    def dies(cluster: Cluster) -> None:
        if cluster.peer.starts:
            cluster.peer.back_at = cluster.now + 1000

    cluster = Cluster()
    record = cluster.run(meddle=dies)
    assert record.phase is Phase.FAILED
    assert "could not be taken back" in record.notes[-1][1]
    assert cluster.own.slot == "a"
    assert cluster.own.role == "MASTER"


def test_a_new_system_with_a_problem_is_taken_back_after_the_patience() -> None:
    def ill(cluster: Cluster) -> None:
        cluster.peer.problems = ("service carp/heartbeat is failed",) if cluster.peer.slot == "b" else ()

    cluster = Cluster()
    record = cluster.run(meddle=ill)
    assert record.phase is Phase.FAILED
    assert "carp/heartbeat is failed" in record.why
    assert cluster.slots == ("a", "a")


def test_addresses_that_are_not_taken_over_end_it_before_this_node_restarts() -> None:
    cluster = Cluster()
    cluster.hand_over = lambda giver, taker: None  # type: ignore[method-assign, assignment]
    record = cluster.run()
    assert "did not take over" in record.why
    assert cluster.slots == ("a", "a")
    assert Action.RESTART_OWN not in cluster.done


@pytest.mark.parametrize("phase", ["write", "switchover"])
def test_a_first_node_that_loses_the_new_system_later_is_a_doubt(phase: str) -> None:
    def falls(cluster: Cluster) -> None:
        if cluster.disk.phase == phase and cluster.peer.slot == "b":
            cluster.peer.slot = "a"

    cluster = Cluster()
    record = cluster.run(meddle=falls)
    assert record.phase is Phase.FAILED
    assert "does not run the new system any more" in record.why
    assert cluster.slots == ("a", "a")


def test_a_restart_of_the_leader_by_something_else_is_a_doubt() -> None:
    def stumbles(cluster: Cluster) -> None:
        if cluster.disk.phase is Phase.SWITCH and not cluster.own.starts:
            cluster.own.armed = ""
            cluster.own.restart(cluster.now)

    record = Cluster().run(meddle=stumbles)
    assert "fw1 was restarted by something else" in record.why


class Deaf(Node):
    """Restarts when it is asked for the third time."""

    def restart(self, now: float) -> None:
        ASKED.append(now)
        if len(ASKED) == 3:
            Node.restart(self, now)


ASKED: list[float] = []


def test_requests_without_effect_are_made_again_but_not_at_every_look() -> None:
    ASKED.clear()
    cluster = Cluster()
    cluster.peer = Deaf("fw2")
    assert cluster.run().phase is Phase.DONE
    assert len(ASKED) == 3
    assert all(later - earlier >= steps.AGAIN_S for earlier, later in itertools.pairwise(ASKED))


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_it_ends_and_never_leaves_both_nodes_without_a_system_that_proved(seed: int) -> None:
    """Nodes are sick, silent, restarted and ill at random."""
    dice = random.Random(seed)
    cluster = Cluster(is_sick=dice.random() < 0.2)
    cluster.own.is_sick = dice.random() < 0.2

    def meddle(cluster: Cluster) -> None:
        for node in (cluster.own, cluster.peer):
            if dice.random() < 0.004:
                node.restart(cluster.now)
            if dice.random() < 0.01:
                node.problems = () if node.problems else ("ill",)
        if dice.random() < 0.01:
            cluster.peer.back_at = max(cluster.peer.back_at, cluster.now + dice.choice([10, 100, 1500]))

    record = cluster.run(until_s=20000, meddle=meddle)
    if record.phase is Phase.DONE:
        assert cluster.slots == ("b", "b")
    else:
        assert record.why
    assert len(record.notes) <= records.NOTES_MAX
