"""The service ``exporter``: serves ``/metrics`` at every chosen place, and makes the page when somebody asks for it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import trio

from appliance.errors import ApplianceError
from appliance.events import Count, Event, GetCounters, GetMetrics, Health, Request, Sample, Status
from appliance.plugin import Context, NoProvider, Started, Subscription
from appliance.rpc import Limits, Listen, Page, PageServer
from appliance_metrics.events import GetExporter
from appliance_metrics.exposition import expose
from appliance_metrics.facts import FACTS, Facts, counts, gauge
from appliance_metrics.settings import PATH, Settings

COUNTERS_S = 2.0
"""For the counters of the ruleset; 50,000 of them take less."""
KEEP_S = 0.5
"""A page that is younger is sent again: however many ask, the node counts twice a second at most."""
EVENTS_MAX = 2048
"""Facts that hold already come all at once."""
LIMITS = Limits(idle_s=90.0, method_s=8.0, strangers_max=8)
"""Prometheus keeps its connection from one scrape to the next, a minute with its defaults."""
REFUSALS = frozenset(
    {"refused_full", "status_400", "status_403", "status_404", "status_405", "status_413", "status_431"}
)


async def run(ctx: Context, task_status: Started) -> None:
    """Serve until told to stop."""
    settings = ctx.config
    assert isinstance(settings, Settings)
    exporter = Exporter(ctx, settings)
    with ExitStack() as stack:
        # One subscription: what is retracted and told anew has to be taken in this order.
        events = stack.enter_context(ctx.subscribe(*FACTS, capacity=EVENTS_MAX))
        stack.enter_context(ctx.serve(GetExporter, exporter.answer))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(exporter.follow, events)
            for server in exporter.servers:
                await nursery.start(server.run)
            ctx.publish(exporter.status())
            task_status.started()
            await ctx.stopping.wait()
            nursery.cancel_scope.cancel(reason=f"{ctx.name} is stopping")


class Exporter:
    """All places, and the one page."""

    def __init__(self, ctx: Context, settings: Settings) -> None:
        self._ctx, self._settings = ctx, settings
        self._facts = Facts()
        self._started = time.time()
        self._lock = trio.Lock()
        self._pages: dict[str, tuple[float, Page]] = {}
        self._scrapes = ctx.metrics.counter("scrapes", "Times that the numbers were collected")
        self._duration = ctx.metrics.gauge("scrape_duration_seconds", "How long the last collection took")
        self._failures = ctx.metrics.counter("scrape_failures", "Times that a part was missing", ("part",))
        for part in ("registry", "ruleset"):
            self._failures.inc(0, part=part)
        self.servers = [
            PageServer(
                Listen(address=place.address, port=settings.port, device=place.device),
                {PATH: self.page},
                admits=place.admits,
                log=ctx.log,
                limits=LIMITS,
            )
            for place in settings.places
        ]

    async def follow(self, events: Subscription[Event]) -> None:
        """Note what is told. One that lags behind ends the service, which then begins with all that holds."""
        async for event in events:
            self._facts.take(event)

    async def page(self, headers: Mapping[str, str]) -> Page:
        """The numbers at this moment."""
        accept = "openmetrics" if "application/openmetrics-text" in headers.get("accept", "") else ""
        async with self._lock:
            made_at, page = self._pages.get(accept, (-KEEP_S, None))
            if page is not None and trio.current_time() - made_at < KEEP_S:
                return page
            begun = trio.current_time()
            samples = await self._collect()
            # Thousands of lines take some milliseconds, which the loop has for others.
            kind, body = await trio.to_thread.run_sync(expose, samples, headers.get("accept", ""))
            self._duration.set(trio.current_time() - begun)
            self._scrapes.inc()
            made = Page(kind=kind, body=body)
            self._pages[accept] = (trio.current_time(), made)
            return made

    async def _collect(self) -> list[Sample]:
        samples = [
            gauge("start_time_seconds", "When this service started, Unix time", self._started),
            *self._facts.samples(),
            *counts(await self._counters()),
        ]
        try:
            samples += await self._ctx.call(GetMetrics())
        except NoProvider:
            self._failures.inc(part="registry")
        return samples

    async def _counters(self) -> Mapping[str, Count]:
        try:
            with trio.fail_after(COUNTERS_S):
                return await self._ctx.call(GetCounters())
        except NoProvider:
            return {}  # this node has no rules
        except (ApplianceError, trio.TooSlowError):
            self._failures.inc(part="ruleset")
            return {}

    def status(self) -> Status:
        """Where it listens, or why not."""
        waiting = [f"{server.where}: {server.waiting_for}" for server in self.servers if server.waiting_for]
        if waiting:
            return Status(health=Health.WARN, summary=f"not listening on {'; '.join(waiting)}")
        return Status(summary=f"listening on {', '.join(str(server.where) for server in self.servers) or 'nothing'}")

    async def answer(self, _: Request[list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """`GetExporter`."""
        return [
            {
                "interface": place.interface,
                "url": f"http://{server.where}{PATH}",
                "listening": server.port != 0,
                "waiting_for": server.waiting_for or None,
                "readers": [str(network) for network in place.readers],
                "served": server.counters["status_200"],
                "refused": sum(count for name, count in server.counters.items() if name in REFUSALS),
            }
            for place, server in zip(self._settings.places, self.servers, strict=True)
        ]
