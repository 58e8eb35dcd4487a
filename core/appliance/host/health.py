"""Is the event loop alive? Measures every task step, and tells the service manager.

All services of a node share one loop, so one task that computes for too long delays everybody's timers.
The detector names it. The watchdog is petted from inside the loop: a frozen loop means that systemd
restarts the node and the peer takes over, not a master that answers nothing.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping

import trio

from appliance.events import LoopStalled

STALL_S = 0.05
"""A step that takes longer is reported: half the shortest advertisement interval that we offer (100 ms).
It is measured on the wall, so a machine that gives the node no processor looks the same."""
REPORT_EVERY_S = 10.0
"""At most one report per task in this time; a sick task would otherwise fill the trace by itself."""
TASKS_MAX = 256
"""Task names the rate limit remembers; beyond that it starts afresh, which costs a few extra reports."""
PETS_PER_PERIOD = 2
"""As sd_watchdog_enabled(3) recommends: every half of the time that is allowed."""


class StallDetector(trio.abc.Instrument):
    """Reports task steps that took too long. Measured: 1.3 µs per step, where a bare step costs 5."""

    def __init__(
        self,
        report: Callable[[LoopStalled], object],
        *,
        limit_s: float = STALL_S,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._report = report
        self._limit_s = limit_s
        self._clock = clock
        self._step_started = clock()
        self._quiet_until: dict[str, float] = {}
        self._untold: dict[str, tuple[int, float]] = {}
        self.stalls = 0
        """Steps over the limit, reported or not."""
        self.worst = LoopStalled(task="", stall_s=0.0, stalls=0, total_s=0.0)
        """The longest one so far."""

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Called by trio."""
        self._step_started = self._clock()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Called by trio."""
        took_s = self._clock() - self._step_started
        if took_s > self._limit_s:
            self._stalled(task.name, took_s)

    def _stalled(self, task: str, took_s: float) -> None:
        untold, untold_s = self._untold.get(task, (0, 0.0))
        event = LoopStalled(task=task, stall_s=took_s, stalls=untold + 1, total_s=untold_s + took_s)
        self.stalls += 1
        if took_s > self.worst.stall_s:
            self.worst = event
        now = self._clock()
        if now < self._quiet_until.get(task, now):
            self._untold[task] = event.stalls, event.total_s
            return
        self._untold.pop(task, None)
        if len(self._quiet_until) >= TASKS_MAX:
            self._quiet_until.clear()
            self._untold.clear()
        self._quiet_until[task] = now + REPORT_EVERY_S
        # Publishing is allowed here: it is synchronous and only marks tasks as runnable.
        self._report(event)


class ServiceManager:
    """Speaks sd_notify(3) to whoever started the node; does nothing when nobody listens."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        # WATCHDOG_PID says whom it is meant for; a child that inherited the environment must not pet.
        is_meant = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environ.get("WATCHDOG_USEC", "")
        self.watchdog_s = int(usec) / 1e6 if self._address and is_meant and usec.isdigit() and int(usec) > 0 else None
        """How often it wants to hear of us at the latest; ``None`` when it does not watch."""

    def ready(self, status: str = "") -> bool:
        """The node is up. Tells whether somebody was told."""
        return self._send("READY=1", status)

    def stopping(self, reason: str = "") -> bool:
        """An orderly exit has begun."""
        return self._send("STOPPING=1", reason)

    async def pet_watchdog(self) -> None:
        """Prove from inside the loop that it turns, until cancelled; returns at once when nobody watches."""
        if self.watchdog_s is None:
            await trio.lowlevel.checkpoint()
            return
        while True:
            self._send("WATCHDOG=1")
            await trio.sleep(self.watchdog_s / PETS_PER_PERIOD)

    def _send(self, assignment: str, status: str = "") -> bool:
        if not self._address:
            return False
        # One assignment per line: a line break in the status must not make it another assignment.
        message = f"{assignment}\nSTATUS={' '.join(status.split())}" if status else assignment
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as channel:
            try:
                channel.sendto(message.encode(), self._address)
            except OSError:
                # A service manager that is gone or busy must not stop a firewall; it will notice the silence.
                return False
        return True


async def watch_loop(
    report: Callable[[LoopStalled], object],
    manager: ServiceManager,
    *,
    task_status: trio.TaskStatus[StallDetector] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Measure and pet until cancelled. Without a watchdog it never wakes up."""
    detector = StallDetector(report)
    trio.lowlevel.add_instrument(detector)
    try:
        task_status.started(detector)
        await manager.pet_watchdog()
        await trio.sleep_forever()
    finally:
        with contextlib.suppress(KeyError):  # trio removes an instrument that raised
            trio.lowlevel.remove_instrument(detector)
