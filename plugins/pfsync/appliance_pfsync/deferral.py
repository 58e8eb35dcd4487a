"""The task that holds first packets: the queue, its rules, and when they are looked at. See `defer`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from appliance.errors import ApplianceError
from appliance.events import Health
from appliance.net.nfqueue import PacketQueue
from appliance_pfsync import defer, ruleset
from appliance_pfsync.defer import Defer

if TYPE_CHECKING:
    from appliance_pfsync.replicator import Replicator

LAST_WORDS_S = 0.5


async def run(of: Replicator) -> None:
    """Hold packets until cancelled. What this kernel cannot do becomes an alarm, and packets pass as without it."""
    try:
        queue = PacketQueue(defer.QUEUE)
    except ApplianceError as error:
        fix = error.hint or "Remove 'defer' from [pfsync], or use a kernel with CONFIG_NETFILTER_NETLINK_GLUE_CT."
        of.alarms.set("defer", f"packets are not deferred: {error.message}", fix, health=Health.FAIL)
        return
    of.defer = held = Defer(queue)
    try:
        await load_rules(of)
        await _work(of, queue, held)
    finally:
        of.defer = None
        with trio.CancelScope(shield=True, deadline=trio.current_time() + LAST_WORDS_S):
            await _end(of, held)
        queue.close()


async def load_rules(of: Replicator) -> None:
    """Load the rules that stop packets: at first, and after somebody's ``flush ruleset``."""
    try:
        if not ruleset.is_loaded(of.filters):
            await ruleset.load()  # the rules of deferral are in its table
        await defer.load()
    except ApplianceError as error:
        fix = error.hint or "Remove 'defer' from [pfsync]."
        of.alarms.set("defer", f"packets are not deferred: {error.message}", fix, health=Health.FAIL)
    else:
        of.alarms.clear("defer")


async def _work(of: Replicator, queue: PacketQueue, held: Defer) -> None:
    while True:
        with trio.move_on_at(held.deadline()):
            await trio.lowlevel.wait_readable(queue.fileno())
        now = trio.current_time()
        if held.take(of.protocol, of.local, now):
            of.flush()
            of.rearm()
        held.expire(now)


async def _end(of: Replicator, held: Defer) -> None:
    try:
        await defer.remove(held)
    except ApplianceError as error:
        of.ctx.log.warning("pfsync_defer_rules_stay", why=error.message)
