"""The service `clock`: keeps the sets of schedules filled while they apply.

It looks at the clock at every full minute, and whenever the ruleset has been loaded. When it is not running, rules stay
as they were.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import trio

from appliance.errors import KernelError
from appliance.events import RulesetLoaded
from appliance.net.nftset import NetfilterSocket, element_change
from appliance.plugin import Context, Overflow, Started, Subscription
from appliance.plugin.ruleset import TABLE
from appliance_firewall.schedule import Schedule, seconds_to_next_minute

ALL_FAMILIES = (bytes((2,)), bytes((10,)))
"""Keys of a set of type ``nf_proto``: NFPROTO_IPV4 and NFPROTO_IPV6, so that every packet is in it."""


@dataclass(frozen=True, slots=True)
class ClockSettings:
    """What the service is told."""

    schedules: tuple[Schedule, ...]


def local_time() -> datetime:
    """Now, by the clock on the wall; a time zone that an operator has changed is noticed."""
    time.tzset()
    return datetime.now(UTC).astimezone()


def transactions(schedules: Iterable[Schedule], now: datetime) -> tuple[tuple[Schedule, bool, bytes], ...]:
    """For each schedule whether it applies, and what tells the kernel."""
    return tuple(
        (each, applies, element_change(TABLE, each.set_name, ALL_FAMILIES, add=applies))
        for each in schedules
        for applies in (each.applies(now),)
    )


async def run(ctx: Context, task_status: Started) -> None:
    """Keep the sets as the clock says."""
    with (
        NetfilterSocket() as kernel,
        ctx.subscribe(RulesetLoaded, overflow=Overflow.COALESCE) as loaded,
    ):
        keeper = _Keeper(ctx, kernel)
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keeper.run, loaded)
            await ctx.stopping.wait()
            nursery.cancel_scope.cancel(reason=f"{ctx.name} is stopping")


class _Keeper:
    def __init__(self, ctx: Context, kernel: NetfilterSocket) -> None:
        self._ctx = ctx
        self._kernel = kernel
        self._told: dict[str, bool] = {}

    async def run(self, loaded: Subscription[RulesetLoaded]) -> None:
        while True:
            now = local_time()
            self._tell(now)
            with trio.move_on_after(seconds_to_next_minute(now)):
                await loaded.receive()

    def _tell(self, now: datetime) -> None:
        settings = self._ctx.config
        assert isinstance(settings, ClockSettings)
        for schedule, applies, transaction in transactions(settings.schedules, now):
            try:
                # No such set: the ruleset is not loaded yet. No such element: it is empty already.
                self._kernel.send(transaction, tolerate=(errno.ENOENT, errno.EEXIST))
            except KernelError as error:
                self._ctx.log.warning("schedule_not_set", schedule=schedule.name, why=error.message)
                continue
            if self._told.get(schedule.name) is not applies:
                self._told[schedule.name] = applies
                self._ctx.log.info("schedule_applies" if applies else "schedule_is_over", schedule=schedule.name)
