"""What makes a process punctual: SCHED_FIFO, locked memory, a garbage collector with little to walk.

Measured on two cores with two busy loops: each of them removes another tail of the wake-up delay.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import threading
from types import FrameType

from appliance.plugin.context import Logger
from appliance.plugin.contributions import Isolation

MCL_CURRENT = 1
MCL_FUTURE = 2
"""mlockall(2), <sys/mman.h>."""
MONOPOLY_S = 2.0
"""Ten times what a burst of a thousand virtual hosts takes; CPU time without a single wait (RLIMIT_RTTIME)."""
NICE = -10
"""Counts while a real-time service has ordinary priority for the time of a call (`fastpath.ordinary_priority`): it
gets the core at once, and whoever it waits for still gets a tenth of it."""
STACK_SIZE = 512 << 10
"""Bytes of a thread's stack. MCL_FUTURE makes all of it resident, and the default of 8 MB per worker thread
would be most of the process."""


def make_punctual(wanted: Isolation, log: Logger) -> None:
    """Apply what is asked for before the service starts. What is not permitted is logged once, not fatal."""
    refused: dict[str, str] = {}
    if wanted.lock_memory:
        threading.stack_size(STACK_SIZE)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mlockall(MCL_CURRENT | MCL_FUTURE) != 0:
            refused["mlockall"] = os.strerror(ctypes.get_errno())
    if wanted.realtime_priority is not None:
        # Without SCHED_RESET_ON_FORK: a guard process forked by the service has to be as punctual.
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(wanted.realtime_priority))
            os.setpriority(os.PRIO_PROCESS, 0, NICE)
            limit_monopoly(log)
        except OSError as error:
            refused[f"SCHED_FIFO {wanted.realtime_priority}"] = error.strerror or str(error)
    if refused:
        log.warning(
            "realtime_refused",
            what=refused,
            hint="timers of this service may be late under load; give the node CAP_SYS_NICE and CAP_IPC_LOCK",
        )


def limit_monopoly(log: Logger) -> None:
    """A real-time process that never waits would take its core from everybody, the node's own console included.

    Past `MONOPOLY_S` it loses its priority, and only that; past twice the time the kernel kills it, for the
    case that Python never gets to the signal handler.
    """

    def brake(number: int, frame: FrameType | None) -> None:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, 0, 0)
        log.error(
            "realtime_lost",
            ran_s=MONOPOLY_S,
            hint="this service computed without waiting; it runs on with normal priority until it is restarted",
        )

    signal.signal(signal.SIGXCPU, brake)
    microseconds = int(MONOPOLY_S * 1e6)
    resource.setrlimit(resource.RLIMIT_RTTIME, (microseconds, 2 * microseconds))


def keep_heap() -> None:
    """Collect garbage again, but never walk what a node that has started consists of: it stays to the end."""
    gc.freeze()
    gc.enable()


def freeze_heap(wanted: Isolation) -> None:
    """Take everything that exists now out of all later collections; called when the service is ready."""
    if wanted.freeze_gc:
        gc.collect()
        gc.freeze()
