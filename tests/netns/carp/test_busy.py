"""Whatever else a node computes does not delay its heartbeats: they come from a process of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from appliance.lab import Lab
from tests.netns.carp.scenes import main_pid
from tests.netns.carp.wires import Frame, Wire, tapped
from tests.netns.carp.words import carp, undisturbed

pytestmark = [pytest.mark.netns, pytest.mark.slow]

HEARTBEATS = 5
LATE_MAX_S = 0.5
"""A heartbeat a second; this much is granted to a machine that runs other tests as well. A node that computes in
its own loop, or waits for a core of two that are taken, is late by more."""


def is_advert(frame: Frame) -> bool:
    return frame.is_advert and frame.family == 4 and not frame.outgoing


def latest_s(wire: Wire) -> float:
    """By how much the latest of the next heartbeats missed its second."""
    wire.forget()
    wire.wait(is_advert, f"{HEARTBEATS} heartbeats", count=HEARTBEATS, deadline_s=3 * HEARTBEATS)
    times = [frame.at for frame in wire.listen() if is_advert(frame)]
    return max(later - earlier for earlier, later in pairwise(times)) - 1


@contextmanager
def every_core_taken(per_core: int = 2) -> Iterator[None]:
    endless = [sys.executable, "-c", "while True: pass"]
    hogs = [subprocess.Popen(["timeout", "60", *endless]) for _ in range(per_core * len(os.sched_getaffinity(0)))]
    try:
        yield
    finally:
        for hog in hogs:
            hog.terminate()
            hog.wait()


def test_heartbeats_go_on_while_the_main_process_stands_still(cluster: Lab) -> None:
    main = main_pid(cluster, "fw1")
    with undisturbed(cluster), tapped(cluster, "lansw", "fw1") as wire:
        os.kill(main, signal.SIGSTOP)
        try:
            assert latest_s(wire) < LATE_MAX_S
        finally:
            os.kill(main, signal.SIGCONT)
        assert carp(cluster, "fw1")["vips"]  # and it answers again


def test_heartbeats_are_punctual_while_every_core_is_taken(cluster: Lab) -> None:
    with undisturbed(cluster), tapped(cluster, "lansw", "fw1") as wire, every_core_taken():
        assert latest_s(wire) < LATE_MAX_S
