"""`appliance config …` and `appliance check`: looking at configurations, changing and checking them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from appliance.console.commands.run import DEFAULT_CONFIG
from appliance.console.render import table
from appliance.errors import ConfigError
from appliance.plugin import Argument, Command, CommandContext, Where
from appliance.status import rfc3339

if TYPE_CHECKING:
    from appliance.host.reload import ApplyReport, Reloader

Data = dict[str, Any]


class ReloadableNode(Protocol):
    """The node, as far as these commands need it."""

    @property
    def reloader(self) -> Reloader: ...


class ConfigContext(CommandContext, Protocol):
    """The context of the core's own commands: it also has the node."""

    @property
    def appliance(self) -> ReloadableNode: ...
    @property
    def who(self) -> str:
        """Who runs the command, for the history."""
        ...


async def show(ctx: ConfigContext) -> Data:
    """The configuration in force, without its secrets."""
    reloader = ctx.appliance.reloader
    return {
        "revision": reloader.revision,
        "path": reloader.config.path,
        "unconfirmed_s": reloader.unconfirmed_s,
        "text": reloader.shown(),
    }


async def history(ctx: ConfigContext) -> list[Data]:
    """All revisions that are kept, oldest first."""
    reloader = ctx.appliance.reloader
    return [
        {
            "revision": revision.number,
            "when": rfc3339(revision.when) if not revision.damage else None,
            "who": revision.who,
            "comment": revision.comment,
            "in_force": revision.number == reloader.revision,
            "damage": revision.damage or None,
        }
        for revision in reloader.history()
    ]


async def diff(ctx: ConfigContext, revision: int | None, other: int | None) -> Data:
    """What differs, without secrets."""
    return {"diff": ctx.appliance.reloader.diff(revision, other)}


async def reload(ctx: ConfigContext, confirm: float | None) -> Data:
    """Apply the configuration file as it is on disk now."""
    return _report(await ctx.appliance.reloader.reload_file(who=ctx.who, confirm_within_s=confirm))


async def rollback(ctx: ConfigContext, revision: int, confirm: float | None) -> Data:
    """Apply an older revision and write it to the configuration file."""
    return _report(await ctx.appliance.reloader.rollback(revision, who=ctx.who, confirm_within_s=confirm))


async def confirm(ctx: ConfigContext) -> Data:
    """Keep the change that would otherwise roll back by itself."""
    return _report(await ctx.appliance.reloader.confirm(who=ctx.who))


def check(config: str) -> Data:
    """Validate a file with the installed plugins; raises with every problem."""
    from appliance.config.loader import head, read_file
    from appliance.host.discovery import discover
    from appliance.host.loading import ConfigLoader
    from appliance.host.plugins import Plugins

    text = read_file(Path(config))
    try:
        blocked = head(text, path=config)[1].blocked
    except ConfigError:
        blocked = []  # reported below, together with everything else
    loaded = ConfigLoader(Plugins(discover(), blocked=blocked)).strict(text, path=config, old=None)
    return {"path": config, "tables": list(loaded.config), "warnings": list(loaded.warnings)}


def _report(report: ApplyReport) -> Data:
    services = {kind: list(names) for kind, names in asdict(report.services).items()}
    return {
        "revision": report.revision,
        "changed": report.changed,
        "tables": list(report.tables),
        "services": services,
        "warnings": list(report.warnings),
        "confirm_within_s": report.confirm_within_s,
    }


def _render_show(data: Data) -> str:
    head = f"# {data['path']}, revision {data['revision']}"
    if data["unconfirmed_s"] is not None:
        head += f", rolls back in {data['unconfirmed_s']:.0f} s unless confirmed"
    return f"{head}\n{data['text']}".rstrip()


def _render_history(rows: list[Data]) -> str:
    return table(
        [
            {
                "revision": f"{row['revision']}{'*' if row['in_force'] else ''}",
                "when": row["when"],
                "who": row["who"],
                "comment": f"damaged: {row['damage']}" if row["damage"] else row["comment"],
            }
            for row in rows
        ]
    )


def _render_diff(data: Data) -> str:
    return str(data["diff"]) or "no difference"


def _render_report(data: Data) -> str:
    lines = list(data["warnings"])
    if data["changed"]:
        lines.append(f"revision {data['revision']} is in force; changed tables: {_names(data['tables'])}")
        touched = {kind: names for kind, names in data["services"].items() if names and kind != "unchanged"}
        lines += [f"  {kind}: {_names(names)}" for kind, names in touched.items()]
        lines.append(f"  undisturbed services: {len(data['services']['unchanged'])}")
    else:
        lines.append(f"revision {data['revision']} is in force; nothing had to change")
    if data["confirm_within_s"] is not None:
        lines.append(f"It rolls back in {data['confirm_within_s']:g} s unless you `appliance config confirm`.")
    return "\n".join(lines)


def _render_confirm(data: Data) -> str:
    return f"revision {data['revision']} is confirmed and stays in force"


def _render_check(data: Data) -> str:
    return "\n".join([*data["warnings"], f"{data['path']}: no problem found; tables: {_names(data['tables'])}"])


def _names(names: list[str]) -> str:
    return ", ".join(names) or "none"


_CONFIRM = Argument(name="--confirm", type=float, help="roll back after this many seconds unless confirmed")

COMMANDS: tuple[Command, ...] = (
    Command(
        path=("config", "show"),
        help="The configuration in force, without its secrets.",
        run=show,
        reads=True,
        render=_render_show,
    ),
    Command(
        path=("show", "configuration"),
        help="The configuration in force, without its secrets.",
        run=show,
        reads=True,
        render=_render_show,
    ),
    Command(
        path=("config", "history"),
        help="The revisions that are kept; * marks the one in force.",
        run=history,
        reads=True,
        render=_render_history,
    ),
    Command(
        path=("config", "diff"),
        help="What differs: the file from what is in force, or a revision from another or from what is in force.",
        run=diff,
        reads=True,
        arguments=(
            Argument(name="revision", type=int, help="compare from this revision, not from the one in force"),
            Argument(name="other", type=int, help="compare to this revision, not to the one in force"),
        ),
        render=_render_diff,
    ),
    Command(
        path=("config", "reload"),
        help="Apply the configuration file as it is on disk now.",
        run=reload,
        arguments=(_CONFIRM,),
        render=_render_report,
    ),
    Command(
        path=("config", "rollback"),
        help="Apply an older revision and write it to the configuration file.",
        run=rollback,
        arguments=(Argument(name="revision", type=int, required=True, help="see `config history`"), _CONFIRM),
        render=_render_report,
    ),
    Command(
        path=("config", "confirm"),
        help="Keep the change that would otherwise roll back by itself.",
        run=confirm,
        render=_render_confirm,
    ),
    Command(
        path=("check",),
        help="Validate a configuration file; prints every problem at once.",
        run=check,
        arguments=(Argument(name="--config", default=DEFAULT_CONFIG, help="the file (-c)"),),
        render=_render_check,
        where=Where.LOCAL,
    ),
)
