"""`appliance doctor`: every check of the core and of the plugins, at once, each under its deadline.

A check is a plugin's code: whatever it does, it becomes a finding. A check that hangs costs its deadline
and nothing more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from subprocess import DEVNULL, PIPE
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from appliance.errors import ApplianceError, KernelError
from appliance.events import Alarm, Event, Health, Request
from appliance.events.doctor import Examine
from appliance.net import clock
from appliance.plugin import Check, Finding, Node, NoProvider, Probe
from appliance.status import SICK_PLUGINS, SICK_SERVICES

if TYPE_CHECKING:
    from appliance.control.context import ApplianceView

R = TypeVar("R")
OUTPUT_MAX = 1024 * 1024
"""Bytes of a command's output: a large rule set fits."""
OUTPUT_TIME_S = 5.0
"""For a read-only command; a check's own deadline is usually shorter."""
REAP_TIME_S = 1.0
"""For a killed process to be gone."""
FILE_MAX = 64 * 1024
"""Bytes of a file: a sysctl or a small file of /proc."""
CONCURRENT_MAX = 16
"""Checks that run at once; they start processes, and the node has work to do meanwhile."""
QUEUE_WARN = 0.5
"""Share of a bus queue: a subscriber that has been this far behind may lose events in a storm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The finding of one check."""

    name: str
    plugin: str
    finding: Finding
    duration_s: float


class NodeProbe:
    """The `Probe` of a running node."""

    def __init__(self, appliance: ApplianceView) -> None:
        self._appliance = appliance

    @property
    def node(self) -> Node:
        return self._appliance.node

    async def call(self, request: Request[R]) -> R:
        """Ask the provider of a request, under the check's deadline."""
        return await self._appliance.bus.call(request)

    def retained(self, kind: type[Event]) -> Sequence[Event]:
        """The retained events of this type, oldest first."""
        return tuple(envelope.event for envelope in self._appliance.bus.retained(kind))

    async def output(self, *argv: str) -> str:
        """Standard output of a read-only command.

        Raises:
            KernelError: The command is missing, fails, takes too long or says too much.
        """
        command = " ".join(argv)
        hint = f"Try it by hand: {command}"
        try:
            with trio.fail_after(OUTPUT_TIME_S):
                code, out, err = await _output(argv)
        except trio.TooSlowError:
            raise KernelError(f"`{command}` did not finish in {OUTPUT_TIME_S:g} s", hint=hint) from None
        except OSError as error:
            raise KernelError(f"`{command}` cannot be run: {error.strerror}", hint=hint) from None
        if code:
            raise KernelError(f"`{command}` failed: {err.strip() or f'exit status {code}'}", hint=hint)
        return out

    def read(self, path: str) -> str:
        """Text of a small file; empty when it does not exist or cannot be read."""
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read(FILE_MAX)
        except OSError:
            return ""


async def examine(appliance: ApplianceView) -> dict[str, Any]:
    """Run all checks of a node; the report as `appliance doctor --json` prints it."""
    checks = [*core_checks(appliance), *appliance.plugins.checks(appliance.config)]
    results = await run_checks(checks, NodeProbe(appliance))
    counts = {health.value: sum(result.finding.health is health for result in results) for health in Health}
    return {"node": appliance.node.name, **counts, "findings": [_row(result) for result in results]}


@contextmanager
def serving(appliance: ApplianceView) -> Iterator[None]:
    """Answer `Examine` while the block lasts, one at a time: checks start processes, and other nodes may ask."""
    turn = trio.Lock()

    async def answer(_: Request[dict[str, Any]]) -> dict[str, Any]:
        async with turn:
            return await examine(appliance)

    with appliance.bus.serve(Examine, answer, source="node"):
        yield


def _row(result: Result) -> dict[str, Any]:
    finding = result.finding
    return {
        "check": result.name,
        "plugin": result.plugin,
        "health": finding.health.value,
        "what": finding.what,
        "why": finding.why,
        "fix": finding.fix,
        "duration_s": result.duration_s,
    }


async def run_checks(checks: Sequence[tuple[str, Check]], probe: Probe) -> list[Result]:
    """Run all checks and return their findings in the order of the checks."""
    results: dict[int, Result] = {}
    limit = trio.CapacityLimiter(CONCURRENT_MAX)

    async def run_one(index: int, plugin: str, check: Check) -> None:
        async with limit:
            began = trio.current_time()
            finding = await _finding(check, plugin, probe)
            results[index] = Result(
                name=check.name, plugin=plugin, finding=finding, duration_s=round(trio.current_time() - began, 3)
            )

    async with trio.open_nursery() as nursery:
        for index, (plugin, check) in enumerate(checks):
            nursery.start_soon(run_one, index, plugin, check)
    return [results[index] for index in sorted(results)]


def core_checks(appliance: ApplianceView) -> list[tuple[str, Check]]:
    """What the core itself knows to look at."""

    async def plugins(_: Probe) -> Finding:
        return _list(
            [f"{entry.name} ({entry.distribution}): {entry.error}" for entry in appliance.plugins.entries
             if entry.state in SICK_PLUGINS] + [str(failure) for failure in appliance.plugins.failures],
            good="every installed plugin is loaded", bad="plugins that are installed do not run",
            fix="Fix the plugin's table or its installation; `[plugins] blocked` leaves it out from the next start on.",
            health=Health.FAIL,
        )  # fmt: skip

    async def services(_: Probe) -> Finding:
        return _list(
            [f"{service.name} is {service.state}: {service.error}" for service in appliance.supervisor.services()
             if service.state in SICK_SERVICES],
            good="every service runs", bad="services are down",
            fix="Look at the node's log and report it to the distribution that `show services` names. What is in "
            "back-off is started again by itself; what has failed, by a restart of the node.",
            health=Health.FAIL,
        )  # fmt: skip

    async def bus(_: Probe) -> Finding:
        return _list(
            [f"{queue.name}: {queue.missed} missed, peak {queue.peak} of {queue.capacity}"
             for queue in appliance.bus.statistics().subscriptions
             if queue.missed or queue.peak > queue.capacity * QUEUE_WARN],
            good="every subscriber keeps up", bad="subscribers of the event bus are behind",
            fix="See `appliance show bus`; the service that subscribes under this name is too slow. It is counted "
            "until that service is restarted.",
            health=Health.WARN,
        )  # fmt: skip

    async def alarms(probe: Probe) -> Finding:
        raised = [event for event in probe.retained(Alarm) if isinstance(event, Alarm) and event.active]
        # What is wrong with plugins is a check of its own.
        active = [alarm for alarm in raised if not alarm.key.startswith("plugin/")]
        worst = Health.FAIL if any(alarm.health is Health.FAIL for alarm in active) else Health.WARN
        return _list(
            list(dict.fromkeys(alarm.what for alarm in active)), good="no alarm is active", bad="alarms are active",
            fix=" ".join(dict.fromkeys(alarm.fix for alarm in active)) or "See `appliance show alarms`.", health=worst,
        )  # fmt: skip

    async def clock_is_kept(_: Probe) -> Finding:
        seen = await trio.to_thread.run_sync(clock.read)
        if seen is None or not seen.own:
            return Finding(health=Health.OK, what="the clock is not this node's own: its machine keeps it")
        if seen.synchronized:
            return Finding(health=Health.OK, what=f"the clock is kept, within {seen.max_error_s:.3f} s")
        return Finding(
            health=Health.WARN,
            what="nobody keeps the clock of this node",
            why="it drifts away from the other node's; schedules, leases, certificates and logs go by it",
            fix="Let it keep time by NTP: 'chronyc sources' shows what chrony has, /config/chrony names other servers. "
            "Some minutes after a start it is right.",
        )

    made = (
        Check(name="plugins", help="Every installed plugin could be loaded.", run=plugins),
        Check(name="services", help="Every service runs.", run=services),
        Check(name="bus", help="No subscriber of the event bus loses events.", run=bus),
        Check(name="alarms", help="No service has raised an alarm.", run=alarms),
        Check(name="clock", help="The clock of the node is kept by NTP.", run=clock_is_kept),
    )
    return [("core", check) for check in made]


async def _finding(check: Check, plugin: str, probe: Probe) -> Finding:
    try:
        with trio.fail_after(check.deadline_s):
            finding = await check.run(probe)
    except trio.TooSlowError:
        return Finding(
            health=Health.FAIL,
            what=f"{check.name}: no result within {check.deadline_s:g} s",
            fix=f"What it looks at hangs, or the check of {plugin} does: see `appliance show services`.",
        )
    except ApplianceError as error:
        return Finding(health=Health.FAIL, what=f"{check.name}: {error.message}", fix=error.hint)
    except NoProvider as error:
        return Finding(
            health=Health.FAIL,
            what=f"{check.name}: nobody answers ({error})",
            fix="The service is starting or has failed: see `appliance show services`.",
        )
    except Exception as error:  # noqa: BLE001 - the border to plugins' code
        return _bug(check, plugin, f"{type(error).__name__}: {error}")
    return finding if isinstance(finding, Finding) else _bug(check, plugin, "it did not return a finding")


def _bug(check: Check, plugin: str, error: str) -> Finding:
    return Finding(
        health=Health.FAIL, what=f"{check.name}: the check failed", why=error, fix=f"Report this as a bug of {plugin}."
    )


def _list(items: Sequence[str], *, good: str, bad: str, fix: str, health: Health) -> Finding:
    if not items:
        return Finding(health=Health.OK, what=good)
    return Finding(health=health, what=bad, why="; ".join(items), fix=fix)


async def _output(argv: Sequence[str]) -> tuple[int, str, str]:
    out, err = bytearray(), bytearray()
    process = await trio.lowlevel.open_process(list(argv), stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_collect, process.stdout, out, nursery.cancel_scope)
            nursery.start_soon(_collect, process.stderr, err, nursery.cancel_scope)
        if nursery.cancel_scope.cancelled_caught:
            return 1, "", f"it printed more than {OUTPUT_MAX} bytes"
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
        with trio.move_on_after(REAP_TIME_S, shield=True):
            await process.stdout.aclose()
            await process.stderr.aclose()
            await process.wait()
    return code, out.decode(errors="replace"), err.decode(errors="replace")


async def _collect(stream: trio.abc.ReceiveStream, into: bytearray, everything: trio.CancelScope) -> None:
    async for chunk in stream:
        into += chunk
        if len(into) > OUTPUT_MAX:
            everything.cancel(reason="the command says too much")
            return
