"""The guard: a forked child that speaks the last words of a heartbeat process that can no longer speak.

Its whole state comes with the fork: the ledger, the devices, open sockets. It notices the death of its
parent as end-of-file on a pipe that only the parent writes to, sends the bow-outs of every virtual host
that was MASTER, keeps forwarding for the usual hold time and closes the gates. It does the same when the
parent exists but has stood still for longer than `STALL_S` (stopped, or stuck), because by then a peer is
about to take over and two nodes must not answer.

It also pokes the link state of the parent devices every few milliseconds. The kernel reports a lost
carrier up to 0.9 s late when nobody asks; ETHTOOL_GLINK makes it tell at once (linkwatch_sync_dev), and
here the wake-ups cost a tenth of what they cost in an event loop.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from appliance.errors import KernelError
from appliance.net import fastpath
from appliance_carp.datapath import Kernel, VirtualMac
from appliance_carp.ledger import Ledger
from appliance_carp.settings import Cidr

POKE_S = 0.014
"""How often the links are asked: a cable pull is seen after 7 ms on average, for 0.9 % of a core (the wake-ups;
asking costs 4 us a device)."""
STALL_S = 2.0
"""Below the shortest time after which a peer with one-second heartbeats takes over (2.0 s after the third)."""
OWN_STALL_S = 0.5
"""A pause of the guard itself this long means that the whole machine slept: no verdict in this round."""
HOLD_S = 0.02
"""How long a node that has bowed out still forwards, so that the successor is there first."""
DISMISS_S = 1.0
"""A guard goes at once, or after its last words. One that somebody has stopped must not stop the heartbeat, too."""
_QUIT = b"q"
_PR_SET_NAME = 15
Send = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ward:
    """One virtual host under guard."""

    slot: int
    vmac: VirtualMac
    addresses: tuple[Cidr, ...]
    """What it holds when it is MASTER: the copy of `vmac` that came with the fork does not know whether it is."""
    bow_out: Callable[[int], Sequence[Send]]
    """Given a stamp sequence, the sends that say goodbye: each family, and the copy on the sync link."""


@dataclass(slots=True)
class Guard:
    """The parent's handle on its guard."""

    pid: int
    pidfd: int
    _pipe: int

    def dismiss(self) -> None:
        """Let the guard go without a word (orderly exit, or a successor has taken its place)."""
        with contextlib.suppress(OSError):
            os.write(self._pipe, _QUIT)
        ended = select.poll()
        ended.register(self.pidfd, select.POLLIN)
        if not ended.poll(DISMISS_S * 1000):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        self.reap()

    def close(self) -> None:
        """Close the file descriptors."""
        for fd in (self._pipe, self.pidfd):
            with contextlib.suppress(OSError):
                os.close(fd)

    def abandon(self) -> None:
        """Let the guard act at once, as if this process had died."""
        self.close()

    def reap(self) -> None:
        """Collect a guard that has died."""
        self.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def start(ledger: Ledger, wards: Sequence[Ward], devices: Sequence[str], keep: Sequence[int]) -> Guard:
    """Fork the guard. Must be called while no other thread runs.

    Args:
        ledger: Shared with the caller.
        wards: What to speak and close for.
        devices: Parent devices whose links are poked.
        keep: File descriptors the wards need.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _live(ledger, wards, devices, reader, {reader, *keep})
    os.close(reader)
    return Guard(pid, os.pidfd_open(pid), writer)


def _live(ledger: Ledger, wards: Sequence[Ward], devices: Sequence[str], pipe: int, keep: set[int]) -> NoReturn:
    status = 1
    try:
        _leave_parent_behind(keep)
        kernel = Kernel()
        _watch(ledger, wards, devices, pipe, kernel)
        status = 0
    except BaseException:  # whatever it is, this is the last place where it can be told
        traceback.print_exc()
        raise
    finally:
        os._exit(status)  # never back into the parent's event loop


def _leave_parent_behind(keep: set[int]) -> None:
    """Drop what the fork brought along: signal handlers, sockets, above all the write end of the pipe."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a guard goes when its ward goes, not before
    for entry in os.listdir("/proc/self/fd"):
        if (fd := int(entry)) > 2 and fd not in keep:
            with contextlib.suppress(OSError):
                os.close(fd)
    ctypes.CDLL(None).prctl(_PR_SET_NAME, b"carp-guard", 0, 0, 0)


def _watch(ledger: Ledger, wards: Sequence[Ward], devices: Sequence[str], pipe: int, kernel: Kernel) -> None:
    poller = select.poll()
    poller.register(pipe, select.POLLIN)
    links = fastpath.CarrierProbe()
    last_round = time.monotonic()
    while True:
        if poller.poll(POKE_S * 1000):
            if os.read(pipe, 1) != _QUIT:
                _last_words(ledger, wards, kernel)
            return
        for device in devices:
            links.carrier(device)
        now = time.monotonic()
        slept, last_round = now - last_round, now
        if slept < OWN_STALL_S and now - ledger.last_beat > STALL_S and not ledger.fenced:
            ledger.fenced = True
            _last_words(ledger, wards, kernel)


def _last_words(ledger: Ledger, wards: Sequence[Ward], kernel: Kernel) -> None:
    masters = [ward for ward in wards if ledger.is_master(ward.slot)]
    for round_number in (1, 2):  # twice: there is nobody left to notice a lost one
        for ward in masters:
            for send in ward.bow_out(ledger.last_stamp(ward.slot) + round_number):
                with contextlib.suppress(OSError):
                    send()
    if masters:
        select.select([], [], [], HOLD_S)
    for ward in masters:
        ward.vmac.held = ward.addresses
    for ward in wards:
        with contextlib.suppress(OSError, KernelError):
            ward.vmac.close(kernel)
