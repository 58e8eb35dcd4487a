"""Real ucarp on the same LAN: it and our node take the address from each other, in both directions.

One node of ours with skew 50; ucarp is the worse, the equal or the better one by its own skew. ucarp reads the network
through a buffer of one second (libpcap), so whatever it does may come that much later.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.lab import Lab, NodeSettings, Topology, Vip, faults
from appliance.lab.lab import unique_name
from appliance.lab.waiting import wait_until
from tests.netns.carp.wires import Frame, Wire, digest, tapped
from tests.netns.carp.words import counter, neighbour, pings, state, undisturbed, vip

pytestmark = [pytest.mark.netns, pytest.mark.slow]

PASSWORD = "both-know-it"
ADDRESS = "192.168.1.1"
VIRTUAL_MAC = "00:00:5e:00:01:01"
UCARP_MAC = "02:fc:00:01:05:01"
UCARP = "192.168.1.3"
SKEW = 50
BUFFER_S = 1.0
"""How much later ucarp notices anything."""
BOUND_S = 3 + SKEW / 256
"""After so long without an advert our node takes over."""
SLACK_S = 1.0
"""For a busy machine."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    lan = Vip(name="lan", interface="lan", vhid=1, addresses=(f"{ADDRESS}/24",), password=PASSWORD, advskew=SKEW)
    settings = NodeSettings(vips=(lan,), sync_interface=None)
    with Lab(Topology(name=unique_name("c"), nodes=1, ipv6=False), settings=settings) as built:
        built.cause(faults.duplicate(built.topology, "lan", f"{UCARP}/24"))
        wait_until(lambda: built.view(), "the node answers", 40.0)
        yield built


@pytest.fixture
def ours(lab: Lab) -> Iterator[Lab]:
    """Our node is the only one, and MASTER."""
    if state(lab, "fw1") == "DISABLED":
        lab.request("fw1", "ha", "enable")
    wait_state(lab, "MASTER", 10.0)
    yield lab
    assert counter(lab, "fw1", "bad_auth") == counter(lab, "fw1", "bad_sum") == 0


class Ucarp:
    """One running ucarp."""

    def __init__(self, lab: Lab, log: Path, process: subprocess.Popen[str]) -> None:
        self._lab, self._log, self._process = lab, log, process

    @property
    def said(self) -> str:
        return self._log.read_text()

    @property
    def role(self) -> str:
        """Its latest state."""
        return self.said.rpartition("Switching to state: ")[2].partition("\n")[0].strip()

    def wait(self, role: str, deadline_s: float) -> None:
        wait_until(lambda: self.role == role, f"ucarp is {role}; it said: {self.said}", deadline_s)

    def kill(self) -> float:
        """``kill -9``; when it was."""
        self._process.kill()
        self._process.communicate(timeout=5)
        self._lab.exec("rogue", "ip", "addr", "del", f"{ADDRESS}/24", "dev", "eth0", check=False)
        return time.monotonic()


@contextmanager
def ucarp(lab: Lab, skew: int, *options: str) -> Iterator[Ucarp]:
    """ucarp on another machine of the LAN; ended with SIGKILL, and its address taken away."""
    log = lab.directory / "ucarp.log"
    scripts = []
    for word in ("add", "del"):
        script = lab.directory / f"ucarp-{word}"
        script.write_text(f"#!/bin/sh\nexec ip addr {word} {ADDRESS}/24 dev eth0\n")
        script.chmod(0o755)
        scripts.append(str(script))
    argv = [
        "ucarp", "-i", "eth0", "-s", UCARP, "-v", "1", "-p", PASSWORD, "-a", ADDRESS, "-b", "1", "-k", str(skew),
        "-n", f"--upscript={scripts[0]}", f"--downscript={scripts[1]}", *options,
    ]  # fmt: skip
    with log.open("w") as out:
        process = subprocess.Popen(
            lab.argv("rogue", argv), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, text=True
        )
    running = Ucarp(lab, log, process)
    try:
        yield running
        assert "Bad" not in running.said, "a digest or a checksum of ours"
    finally:
        running.kill()


def wait_state(lab: Lab, wanted: str, deadline_s: float) -> None:
    wait_until(lambda: state(lab, "fw1") == wanted, f"our node is {wanted}", deadline_s)


def disable(lab: Lab) -> None:
    """Take our node out, and wait until ucarp is heard as MASTER."""
    lab.request("fw1", "ha", "disable", "--force")


def is_from_ucarp(frame: Frame) -> bool:
    return frame.is_advert and frame.source == UCARP


def is_ours(frame: Frame) -> bool:
    return frame.is_advert and frame.source == "192.168.1.2"


def wait_heard(peer: Ucarp, wire: Wire) -> None:
    """Until ucarp would be MASTER if it had not heard us."""
    wire.wait(is_ours, "five of our adverts", count=5, deadline_s=10.0)
    assert peer.role == "BACKUP"
    assert not [frame for frame in wire.listen() if is_from_ucarp(frame)]


def test_a_worse_ucarp_stays_backup_and_our_bow_out_moves_it_and_it_yields_when_we_return(ours: Lab) -> None:
    with ucarp(ours, 100) as peer, tapped(ours, "lansw", "fw1") as wire:
        wait_heard(peer, wire)
        disable(ours)
        peer.wait("MASTER", SLACK_S)
        bow_out = [frame for frame in wire.listen() if is_ours(frame)][-1]
        assert bow_out.advert.is_bow_out
        first = next(frame for frame in wire.heard if is_from_ucarp(frame))
        assert first.at - bow_out.at < BUFFER_S + SLACK_S, "and not the three seconds of a silent death"

        assert pings(ours, "client", ADDRESS, wait_s=2.0)
        wait_until(lambda: neighbour(ours, "client", ADDRESS) == UCARP_MAC, "the client has learned ucarp's card", 5.0)
        ours.request("fw1", "ha", "enable")
        wait_state(ours, "MASTER", 2.0 + SLACK_S)
        assert f"preempted {UCARP}" in vip(ours, "fw1")["reason"]
        peer.wait("BACKUP", 2.0 + BUFFER_S + SLACK_S)
        # Its last word is an announcement of its own card; we answer it until it is believed.
        wait_until(lambda: neighbour(ours, "client", ADDRESS) == VIRTUAL_MAC, "the client learns the virtual MAC", 5.0)
        wire.forget()
        with undisturbed(ours):
            wire.wait(is_ours, "three of our adverts", count=3)
        assert peer.role == "BACKUP"
        assert not [frame for frame in wire.heard if is_from_ucarp(frame)]
        assert neighbour(ours, "client", ADDRESS) == VIRTUAL_MAC


def test_we_yield_to_a_better_ucarp_and_take_over_when_it_is_killed(ours: Lab) -> None:
    with tapped(ours, "lansw", "rogue") as wire, ucarp(ours, 0, "-P") as peer:
        peer.wait("MASTER", 5.0)
        wait_state(ours, "BACKUP", SLACK_S)
        assert vip(ours, "fw1")["reason"] == f"better master {UCARP}"
        wait_until(lambda: pings(ours, "client", ADDRESS), "the client reaches ucarp", 5.0)
        check_bytes(wire)
        with undisturbed(ours):
            before = counter(ours, "fw1", "received")
            wait_until(lambda: counter(ours, "fw1", "received") >= before + 3, "three adverts of ucarp", 5.0)
            assert vip(ours, "fw1")["peers"][0]["address"] == UCARP
        killed = peer.kill()
        wait_state(ours, "MASTER", BOUND_S + SLACK_S)
        took_s = time.monotonic() - killed
        assert BOUND_S - 1.05 < took_s < BOUND_S + SLACK_S
        assert vip(ours, "fw1")["reason"] == "master timed out"
        wait_until(lambda: neighbour(ours, "client", ADDRESS) == VIRTUAL_MAC, "the client learns the virtual MAC", 5.0)
        assert pings(ours, "client", ADDRESS)


def check_bytes(wire: Wire) -> None:
    """ucarp signs as our encoder does: the tests' own encoder agrees with both."""
    frame = wire.wait(is_from_ucarp, "an advert of ucarp")
    assert frame.advert.digest == digest(PASSWORD, 1, (ADDRESS,), frame.advert.counter)
    assert (frame.advert.advbase, frame.advert.advskew) == (1, 0)


def test_equals_do_not_flap_whoever_was_first(ours: Lab) -> None:
    with ucarp(ours, SKEW) as peer, tapped(ours, "lansw", "fw1") as wire:
        with undisturbed(ours):
            wait_heard(peer, wire)
        disable(ours)
        peer.wait("MASTER", SLACK_S)
        ours.request("fw1", "ha", "enable")
        wait_state(ours, "BACKUP", SLACK_S)
        with undisturbed(ours):
            before = counter(ours, "fw1", "received")
            wait_until(lambda: counter(ours, "fw1", "received") >= before + 4, "four adverts of ucarp", 8.0)
            assert peer.role == "MASTER"
