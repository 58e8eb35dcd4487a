"""A punctual process: it gets what it asks for, and cannot take the machine with it."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, sys, time
from appliance.host import realtime
from appliance.plugin.contributions import Isolation

class Log:
    def error(self, event, **fields): print(event, flush=True)
    def warning(self, event, **fields): print(event, fields, flush=True)

realtime.MONOPOLY_S = 0.2
realtime.make_punctual(Isolation(realtime_priority=1), Log())
assert os.sched_getscheduler(0) == os.SCHED_FIFO
end = time.monotonic() + 5
while os.sched_getscheduler(0) == os.SCHED_FIFO and time.monotonic() < end:
    pass
print("policy", os.sched_getscheduler(0) == os.SCHED_OTHER)
"""


def test_a_service_that_computes_without_waiting_loses_its_priority_and_nothing_else() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.splitlines() == ["realtime_lost", "policy True"]


def test_a_node_that_is_up_collects_garbage_again_but_not_what_it_consists_of() -> None:
    program = (
        "import gc; gc.disable()\n"
        "from appliance.host import realtime; realtime.keep_heap()\n"
        "print(gc.isenabled(), gc.get_freeze_count() > 10_000)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.split() == ["True", "True"]
