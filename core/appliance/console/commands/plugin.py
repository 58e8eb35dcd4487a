"""`appliance plugin list` and `show`: what is installed and what it contributes. No running node is needed.

Everything a plugin contributes can be read without running it, so this also works on the machine of an
author, and in an image that has not been booted yet.
"""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from appliance.console.grammar import usage
from appliance.console.model_docs import fields
from appliance.console.render import render, table
from appliance.errors import UsageError
from appliance.events import Event
from appliance.plugin import Argument, Command, Where

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
        raise UsageError(
            f"no plugin `{name}` is installed", hint=f"{meant}Installed: {', '.join(known) or 'none'}."
        )
    head = _head(entry)
    if entry.table is not None:
        head["table"] = {
            "name": entry.table.name,
            "summary": entry.table.summary,
            "fields": fields(entry.table.model),
        }
    kinds = [kind for plugin, kind in plugins.events_by_plugin() if plugin == name]
    head["events"] = [_kind(kind) for kind in kinds if issubclass(kind, Event)]
    head["requests"] = [_kind(kind) for kind in kinds if not issubclass(kind, Event)]
    head["commands"] = [
        {"command": usage(item.command), "help": item.command.help, "where": item.command.where.value}
        for item in plugins.commands()
        if item.plugin == name
    ]
    return head


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
