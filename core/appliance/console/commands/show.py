"""`appliance show …` for what the core itself knows, `doctor` and `metrics`."""

from __future__ import annotations

import platform
from typing import Any

import trio

from appliance import __version__
from appliance.console.ha_screen import render_ha
from appliance.console.render import age, table
from appliance.control.context import ControlContext
from appliance.doctor import examine
from appliance.events import GetRuleset, Status
from appliance.events.doctor import ExaminePeers, unexamined
from appliance.plugin import API, Argument, Command, NoProvider
from appliance.status import active_alarms, ha_status, rfc3339

Row = dict[str, Any]
MARKS = {"ok": "ok  ", "warn": "WARN", "fail": "FAIL"}


async def show_ha(ctx: ControlContext) -> Row:
    """The whole truth on one screen."""
    return ha_status(ctx.appliance, now=trio.current_time())


async def show_alarms(ctx: ControlContext) -> list[Row]:
    """What is wrong by the services' own word."""
    return active_alarms(ctx.appliance, now=trio.current_time())


async def show_plugins(ctx: ControlContext) -> list[Row]:
    """Every installed plugin, with the distribution it came from."""
    return [
        {
            "name": entry.name,
            "distribution": entry.distribution,
            "state": str(entry.state),
            "enabled": entry.enabled,
            "error": entry.error,
        }
        for entry in ctx.appliance.plugins.entries
    ]


async def show_services(ctx: ControlContext) -> list[Row]:
    """Every service with its state and its own summary."""
    status: dict[str, Status] = {}
    for envelope in ctx.appliance.bus.retained(Status):
        if isinstance(envelope.event, Status):
            status[envelope.source] = envelope.event
    rows = []
    for service in ctx.appliance.supervisor.services():
        own = status.get(service.name)
        rows.append(
            {
                "name": service.name,
                "state": str(service.state),
                "since_s": round(service.since_s, 1),
                "restarts": service.restarts,
                "pid": service.pid,
                "health": own.health.value if own else None,
                "summary": own.summary if own else None,
                "error": service.error,
                "plugin": service.plugin,
                "distribution": service.distribution,
            }
        )
    return rows


async def show_ruleset(ctx: ControlContext) -> Row:
    """The nftables table that all plugins contribute to, as it was loaded."""
    try:
        text = await ctx.call(GetRuleset())
    except NoProvider:
        return {"loaded": False, "text": ""}
    return {"loaded": True, "text": text}


def _ruleset_text(shown: Row) -> str:
    if not shown["loaded"]:
        return "No plugin contributes rules, or they could not be loaded: see `appliance show services`."
    return str(shown["text"]).rstrip()


async def show_bus(ctx: ControlContext) -> Row:
    """How the event bus and each of its subscribers keep up."""
    bus = ctx.appliance.bus
    statistics = bus.statistics()
    return {
        "published": statistics.published,
        "refused": statistics.refused,
        "retained": statistics.retained,
        "providers": [{"request": request, "service": service} for request, service in statistics.providers],
        "subscriptions": [
            {
                "name": queue.name,
                "types": list(queue.types),
                "overflow": queue.overflow.value,
                "delivered": queue.delivered,
                "missed": queue.missed,
                "queued": queue.queued,
                "peak": queue.peak,
                "capacity": queue.capacity,
                "oldest_age_s": queue.oldest_age_s,
            }
            for queue in statistics.subscriptions
        ],
    }


async def show_version(ctx: ControlContext) -> Row:
    """The version that runs, which need not be the one that is installed."""
    started = ctx.appliance.started_wall
    return {
        "node": ctx.node.name,
        "version": __version__,
        "plugin_api": f"{API.major}.{API.minor}",
        "python": platform.python_version(),
        "kernel": platform.release(),
        "started": rfc3339(started),
    }


async def doctor(ctx: ControlContext, *, peers: bool = False) -> Row:
    """Run all checks, with `peers` also those of the paired nodes; exit 1 when one fails or a node does not answer."""
    reports: list[Row] = []

    async def ask() -> None:
        reports.extend(await _of_peers(ctx))

    async with trio.open_nursery() as nursery:
        if peers:
            nursery.start_soon(ask)
        own = await examine(ctx.appliance)
    if any(report["fail"] or report.get("error") for report in [own, *reports]):
        ctx.exit_code = 1
    return {**own, "peers": reports}


async def _of_peers(ctx: ControlContext) -> list[Row]:
    error = "this node is paired with no other node"
    try:
        if reports := await ctx.call(ExaminePeers()):
            return reports
    except NoProvider:
        error = "nothing on this node can ask the others"
    remedy = "Give both nodes an [xmlrpc_sync] table and pair them ('appliance pair'), or run the doctor on each."
    return [unexamined("the other nodes", "", error, remedy)]


async def metrics(ctx: ControlContext) -> Row:
    """All metrics in Prometheus' text format."""
    return {"exposition": ctx.appliance.metrics.exposition()}


def _render_services(rows: list[Row]) -> str:
    shown = [
        {
            "service": row["name"],
            "state": row["state"],
            "for": age(row["since_s"]),
            "restarts": row["restarts"],
            "pid": row["pid"],
            "health": row["health"],
            "summary": row["error"] if row["state"] in ("failed", "back-off") else row["summary"],
        }
        for row in rows
    ]
    return table(shown) if shown else "no service is configured"


def _render_alarms(rows: list[Row]) -> str:
    if not rows:
        return "no alarm is active"
    lines = []
    for row in rows:
        lines.append(f"{MARKS[row['health']]}  {row['what']}  (for {age(row['age_s'])}, {row['key']})")
        lines.append(f"      -> {row['fix']}")
    return "\n".join(lines)


def _render_doctor(report: Row) -> str:
    if not report["peers"]:
        return _render_report(report)
    parts = []
    for each in (report, *report["peers"]):
        if each.get("error"):
            parts.append(f"{each['node']}:\nFAIL  {each['error']}\n      -> {each['remedy']}")
        else:
            parts.append(f"{each['node']}:\n{_render_report(each)}")
    return "\n\n".join(parts)


def _render_report(report: Row) -> str:
    lines = []
    for finding in report["findings"]:
        lines.append(f"{MARKS[finding['health']]}  {finding['plugin']}/{finding['check']}: {finding['what']}")
        if finding["why"]:
            lines.append(f"      because {finding['why']}")
        if finding["health"] != "ok":
            lines.append(f"      -> {finding['fix']}")
    lines.append("")
    lines.append(f"{report['ok']} ok, {report['warn']} warnings, {report['fail']} failures")
    return "\n".join(lines)


def _render_metrics(report: Row) -> str:
    return str(report["exposition"]).rstrip("\n")


COMMANDS = (
    Command(
        path=("show", "ha"), help="Role, peers, links, what is wrong and what to do.", run=show_ha, reads=True,
        render=render_ha,
    ),
    Command(
        path=("show", "alarms"), help="What is wrong, with remedies.", run=show_alarms, reads=True,
        render=_render_alarms,
    ),
    Command(path=("show", "plugins"), help="Installed plugins and whether they run.", run=show_plugins, reads=True),
    Command(
        path=("show", "services"), help="Supervised services and their health.", run=show_services, reads=True,
        render=_render_services,
    ),
    Command(
        path=("show", "ruleset"), help="The nftables table of this node, as all plugins together made it.",
        run=show_ruleset, reads=True, render=_ruleset_text,
    ),
    Command(path=("show", "bus"), help="Queues of the event bus.", run=show_bus, reads=True),
    Command(path=("show", "version"), help="The version of the running node.", run=show_version, reads=True),
    Command(
        path=("doctor",), help="Look for problems, each with its remedy; exit 1 if one is serious.", run=doctor,
        reads=True, render=_render_doctor,
        arguments=(Argument(name="--peers", flag=True, help="examine the paired nodes, too, from here"),),
    ),
    Command(
        path=("metrics",), help="All metrics in Prometheus' text format.", run=metrics, reads=True,
        render=_render_metrics,
    ),
)  # fmt: skip
