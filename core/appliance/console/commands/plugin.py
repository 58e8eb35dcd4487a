"""`appliance plugin list` and `show`: what is installed and what it contributes. No running node is needed.

Everything a plugin contributes can be read without running it, so this also works on the machine of an
author, and in an image that has not been booted yet.
"""

from __future__ import annotations

import inspect
import json
import textwrap
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from appliance.config import Config
from appliance.config.model import NodeTable
from appliance.console.grammar import usage
from appliance.console.model_docs import fields
from appliance.console.render import render, table
from appliance.errors import UsageError
from appliance.events import Event
from appliance.plugin import Argument, Command, ImagePart, Where

if TYPE_CHECKING:
    from appliance.host.plugins import PluginEntry, Plugins

Row = dict[str, Any]
FLAVOR = "base"
"""The image flavor that `plugin show` asks about: what every image has."""


def plugin_list() -> list[Row]:
    """Every installed plugin."""
    return [_head(entry) for entry in _plugins().entries]


def plugin_show(name: str) -> Row:
    """Everything one plugin contributes."""
    plugins = _plugins()
    known = [entry.name for entry in plugins.entries]
    entry = next((entry for entry in plugins.entries if entry.name == name), None)
    if entry is None:
        near = get_close_matches(name, known, n=1)
        meant = f"Did you mean {near[0]}? " if near else ""
        raise UsageError(f"no plugin `{name}` is installed", hint=f"{meant}Installed: {', '.join(known) or 'none'}.")
    head = _head(entry)
    if entry.table is not None:
        head["table"] = {
            "name": entry.table.name,
            "summary": entry.table.summary,
            "fields": fields(entry.table.model),
        }
    head |= _contributions(plugins, name)
    return head


def _contributions(plugins: Plugins, name: str) -> Row:
    kinds = [kind for plugin, kind in plugins.events_by_plugin() if plugin == name]
    row: Row = {
        "events": [_kind(kind) for kind in kinds if issubclass(kind, Event)],
        "requests": [_kind(kind) for kind in kinds if not issubclass(kind, Event)],
        "commands": [
            {"command": usage(item.command), "help": item.command.help, "where": item.command.where.value}
            for item in plugins.commands()
            if item.plugin == name
        ],
        "checks": _checks(plugins, name),
        "sync_sections": [
            {"name": section.name, "keys": [".".join(key) for key in section.keys]}
            for plugin, section in plugins.sync_sections()
            if plugin == name
        ],
        "image": [_image(part) for plugin, part in plugins.image(FLAVOR) if plugin == name],
    }
    # Without a configuration it is no failure to have nothing to check.
    failures = [failure for failure in plugins.failures if failure.hook != "appliance_checks"]
    row["failures"] = [str(failure) for failure in failures if failure.plugin == name]
    return row


def _checks(plugins: Plugins, name: str) -> list[Row] | None:
    """Checks may depend on the configuration; then there is nothing to say without one."""
    enabled = [entry.table.name for entry in plugins.entries if entry.table is not None]
    plugins.enable(enabled)
    found = plugins.checks(Config({}, node=NodeTable(name="example")))
    if any(failure.plugin == name and failure.hook == "appliance_checks" for failure in plugins.failures):
        return None
    return [{"name": check.name, "help": check.help} for plugin, check in found if plugin == name]


def _image(part: ImagePart) -> Row:
    return {
        "packages": list(part.packages),
        "kernel_modules": list(part.kernel_modules),
        "sysctls": dict(part.sysctls),
        "files": dict(part.files),
        "units": list(part.units),
        "users": list(part.users),
    }


def _plugins() -> Plugins:
    from appliance.host.discovery import discover
    from appliance.host.plugins import Plugins

    return Plugins(discover())


def _head(entry: PluginEntry) -> Row:
    try:
        released = version(entry.distribution)
    except PackageNotFoundError:
        released = ""
    return {
        "name": entry.name,
        "distribution": entry.distribution,
        "version": released,
        "state": str(entry.state),
        "summary": entry.table.summary if entry.table else "",
        "error": entry.error,
    }


def _kind(kind: type) -> Row:
    doc = inspect.getdoc(kind) or ""
    return {"name": kind.__qualname__, "doc": doc.partition("\n")[0]}


def _render_list(rows: list[Row]) -> str:
    if not rows:
        return "no plugin is installed"
    shown = [{**row, "summary": row["error"] or row["summary"]} for row in rows]
    return table(shown, columns=("name", "state", "version", "distribution", "summary"))


def _render_show(row: Row) -> str:
    head = {key: row[key] for key in ("name", "distribution", "version", "state", "error") if row[key]}
    parts = [render(head)]
    if "table" in row:
        parts.append(f"[{row['table']['name']}]  {row['table']['summary']}\n\n{_render_fields(row['table']['fields'])}")
    titles = {"commands": "commands", "events": "events", "requests": "requests", "checks": "checks of the doctor"}
    for key, title in titles.items():
        if row.get(key):
            parts.append(f"{title}\n\n{textwrap.indent(table(row[key]), '  ')}")
        elif row.get(key, ()) is None:
            parts.append(f"{title}: depend on the configuration")
    parts += [f"in an image\n\n{textwrap.indent(render(part), '  ')}" for part in row.get("image", ())]
    parts += [f"failed: {failure}" for failure in row.get("failures", ())]
    return "\n\n".join(parts)


def _render_fields(rows: list[Row]) -> str:
    lines = []
    for row in rows:
        default = "required" if row["required"] else f"default {_toml(row['default'])}"
        lines.append(f"  {row['key']}  ({row['type']}, {default}, {row['scope']})")
        lines += textwrap.wrap(row["doc"], 96, initial_indent="      ", subsequent_indent="      ")
    return "\n".join(lines)


def _toml(value: object) -> str:
    # JSON and TOML write these values alike; absence is the exception.
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


COMMANDS = (
    Command(
        path=("plugin", "list"), help="Installed plugins.", run=plugin_list, where=Where.LOCAL, render=_render_list
    ),
    Command(
        path=("plugin", "show"),
        help="What a plugin contributes: table, events, commands, checks, parts of an image.",
        run=plugin_show,
        where=Where.LOCAL,
        arguments=(Argument(name="name", required=True, help="as `plugin list` names it"),),
        render=_render_show,
    ),
)
