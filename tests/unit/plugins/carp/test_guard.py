"""The guard is a real forked process here; what it would send and close arrives through a pipe."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_interface
from typing import Any

import pytest

from appliance.errors import KernelError
from appliance_carp import guard as guarding
from appliance_carp.guard import HOLD_S, POKE_S, Guard, Ward
from appliance_carp.ledger import Ledger

HELD = (ip_interface("192.168.1.1/32"),)
DEADLINE_S = 10.0


class Told:
    """The end of a pipe at which one hears the guard."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self._buffer = b""
        self.said_at = 0.0
        """By the guard's clock, when it said the word that `next` has returned."""

    def say(self, words: str) -> None:
        os.write(self.writer, f"{time.monotonic()} {words}\n".encode())

    def next(self) -> str:
        """The next word; empty when the guard has ended."""
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self.reader], [], [], DEADLINE_S)
            assert ready, f"the guard has said nothing for {DEADLINE_S} s"
            if not (read := os.read(self.reader, 4096)):
                return ""
            self._buffer += read
        line, _, self._buffer = self._buffer.partition(b"\n")
        at, _, word = line.decode().partition(" ")
        self.said_at = float(at)
        return word

    def rest(self) -> list[str]:
        """Everything until the guard's end."""
        return list(iter(self.next, ""))


class Gate:
    """A virtual MAC that says what is done to it."""

    def __init__(self, name: str, told: Told, error: Exception | None = None) -> None:
        self.name = name
        self.held: tuple[object, ...] = ()
        self._told = told
        self._error = error

    def close(self, kernel: object) -> None:
        if self._error is not None:
            raise self._error
        self._told.say(f"close {self.name} {' '.join(map(str, self.held))}".strip())


class Scene:
    """A ledger, two virtual hosts of which the first is MASTER, and the guard's voice."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.told = Told()
        self.gates = [Gate("lan0.v1", self.told), Gate("wan0.v2", self.told)]
        self.errors: dict[str, Exception] = {}
        self.ledger.beat(time.monotonic())
        self.ledger.record(0, master=True)
        self.ledger.stamp(0, 1000)
        self.guard: Guard | None = None

    def start(self, *devices: str) -> Guard:
        wards = [
            Ward(slot=slot, vmac=gate, addresses=HELD, bow_out=self._bow_out(gate.name))  # type: ignore[arg-type]
            for slot, gate in enumerate(self.gates)
        ]
        self.guard = guarding.start(self.ledger, wards, devices, [self.told.writer])
        os.close(self.told.writer)
        return self.guard

    def _bow_out(self, name: str) -> Any:
        def sends(sequence: int) -> list[Any]:
            def send(where: str) -> None:
                self.told.say(f"bow-out {name} {where} {sequence}")
                if name in self.errors:
                    raise self.errors[name]

            return [lambda: send("lan"), lambda: send("sync")]

        return sends


LAST_WORDS = [
    "bow-out lan0.v1 lan 1001",
    "bow-out lan0.v1 sync 1001",
    "bow-out lan0.v1 lan 1002",
    "bow-out lan0.v1 sync 1002",
    "close lan0.v1 192.168.1.1/32",
    "close wan0.v2",
]


@contextmanager
def staged() -> Iterator[Scene]:
    scene = Scene()
    try:
        yield scene
    finally:
        os.close(scene.told.reader)
        if scene.guard is not None:
            try:
                os.kill(scene.guard.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            else:
                scene.guard.reap()
        scene.ledger.close()


class Sockets:
    """Stands for `datapath.Kernel`: the guard opens its own after the fork."""


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setattr(guarding, "Kernel", Sockets)
    with staged() as made:
        yield made


def test_when_its_parent_dies_the_guard_bows_out_of_what_was_master_and_closes_everything(scene: Scene) -> None:
    guard = scene.start()
    scene.ledger.stamp(0, 1000)
    guard.abandon()  # all that a dead process does: its end of the pipe closes
    assert scene.told.rest() == LAST_WORDS
    assert os.waitstatus_to_exitcode(os.waitpid(guard.pid, 0)[1]) == 0


def test_a_guard_that_is_dismissed_goes_without_a_word(scene: Scene) -> None:
    scene.start().dismiss()
    assert scene.told.rest() == []


def test_a_guard_that_somebody_has_stopped_does_not_stop_who_dismisses_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarding, "DISMISS_S", 0.1)
    guard = scene.start()
    os.kill(guard.pid, signal.SIGSTOP)
    guard.dismiss()
    with pytest.raises(ProcessLookupError):
        os.kill(guard.pid, 0)


def test_the_guard_learns_of_roles_that_moved_after_the_fork(scene: Scene) -> None:
    guard = scene.start()
    scene.ledger.record(0, master=False)
    scene.ledger.record(1, master=True)
    scene.ledger.stamp(1, 50)
    guard.abandon()
    assert scene.told.rest() == [
        "bow-out wan0.v2 lan 51",
        "bow-out wan0.v2 sync 51",
        "bow-out wan0.v2 lan 52",
        "bow-out wan0.v2 sync 52",
        "close lan0.v1",
        "close wan0.v2 192.168.1.1/32",
    ]


def test_a_backup_has_no_last_words_and_is_closed_without_a_hold(scene: Scene) -> None:
    scene.ledger.record(0, master=False)
    scene.start().abandon()
    assert scene.told.rest() == ["close lan0.v1", "close wan0.v2"]


def test_between_the_last_word_and_the_closing_the_node_still_forwards(scene: Scene) -> None:
    guard = scene.start()
    guard.abandon()
    for expected in LAST_WORDS[:4]:
        assert scene.told.next() == expected
    last_word_at = scene.told.said_at
    assert scene.told.next().startswith("close")
    assert scene.told.said_at - last_word_at >= HOLD_S


def test_what_fails_does_not_keep_the_guard_from_the_rest(scene: Scene) -> None:
    scene.errors["lan0.v1"] = OSError(100, "network is down")
    scene.gates[0]._error = KernelError("gone", hint="-")
    scene.start().abandon()
    assert scene.told.rest() == [*LAST_WORDS[:4], "close wan0.v2"]


def test_a_parent_that_stands_still_is_fenced_once_and_may_go_on_to_find_out(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarding, "STALL_S", 0.2)
    scene.ledger.beat(time.monotonic())
    guard = scene.start()
    assert [scene.told.next() for _ in LAST_WORDS] == LAST_WORDS
    assert scene.ledger.fenced
    select.select([], [], [], 10 * POKE_S)
    guard.dismiss()
    assert scene.told.rest() == [], "once"


def test_a_parent_that_beats_is_left_alone(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarding, "STALL_S", 0.8)
    guard = scene.start()
    end = time.monotonic() + 1.2
    while time.monotonic() < end:
        scene.ledger.beat(time.monotonic())
        select.select([], [], [], 0.02)
    assert not scene.ledger.fenced
    guard.dismiss()
    assert scene.told.rest() == []


def test_signals_that_end_its_parent_do_not_end_the_guard_first(scene: Scene) -> None:
    guard = scene.start()
    while not os.path.exists(f"/proc/{guard.pid}/comm") or name_of(guard) != "carp-guard":
        select.select([], [], [], 0.01)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(guard.pid, number)
    guard.abandon()
    assert scene.told.rest() == LAST_WORDS


def test_the_guard_keeps_only_what_it_needs(scene: Scene) -> None:
    before, after = os.pipe()
    try:
        guard = scene.start()
        while name_of(guard) != "carp-guard":
            select.select([], [], [], 0.01)
        kept = {os.readlink(f"/proc/{guard.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{guard.pid}/fd") if int(fd) > 2}
        assert os.readlink(f"/proc/self/fd/{before}") not in kept
        assert os.readlink(f"/proc/self/fd/{scene.told.reader}") in kept, "the same pipe: its other end"
        guard.dismiss()
    finally:
        os.close(before)
        os.close(after)


def test_the_links_are_poked_all_the_time(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    class Poked:
        def carrier(self, device: str) -> None:
            scene.told.say(f"poke {device}")

    monkeypatch.setattr(guarding.fastpath, "CarrierProbe", Poked)
    guard = scene.start("lan0", "sync0")
    assert [scene.told.next() for _ in range(6)] == ["poke lan0", "poke sync0"] * 3
    guard.dismiss()
    assert {word.split()[0] for word in scene.told.rest()} <= {"poke"}


def test_a_guard_that_was_killed_is_seen_and_collected(scene: Scene) -> None:
    guard = scene.start()
    os.kill(guard.pid, signal.SIGKILL)
    assert select.select([guard.pidfd], [], [], DEADLINE_S)[0]
    guard.reap()
    with pytest.raises(ChildProcessError):
        os.waitpid(guard.pid, 0)
    scene.guard = None


def name_of(guard: Guard) -> str:
    with open(f"/proc/{guard.pid}/comm", encoding="ascii") as file:
        return file.read().strip()
