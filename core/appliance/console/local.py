"""Commands that run in the calling process: finding them, running them, printing what they return."""

from __future__ import annotations

import json
import os
import sys

from appliance.console import commands
from appliance.console.grammar import Grammar, Parsed
from appliance.console.render import render, visible
from appliance.plugin import Command, Where


def grammar(head: str | None) -> Grammar:
    """The local commands behind one first word; with ``None`` also those of all installed plugins."""
    if head is not None:
        return Grammar(commands.local_commands(head))
    own = commands.local_commands()
    return Grammar([*own, *(command for command in _of_plugins() if command.where is Where.LOCAL)])


def everything() -> Grammar:
    """Every command there is, for help. Nothing of it needs a running node."""
    return Grammar([*commands.local_commands(), *commands.daemon_commands(), *_of_plugins()])


def run(parsed: Parsed) -> int:
    """Run a local command and return its exit status.

    A command returns its exit status, or data that is printed like that of a node's command.
    """
    result = parsed.command.run(**parsed.arguments)
    if result is None or isinstance(result, int):
        return int(result or 0)
    if parsed.json:
        text = json.dumps(result, indent=2 if sys.stdout.isatty() else None)
    elif parsed.command.render is not None:
        text = parsed.command.render(result)
    else:
        text = render(result, width=os.get_terminal_size().columns if sys.stdout.isatty() else 0)
    sys.stdout.write(visible(text) + "\n")
    return 0


def _of_plugins() -> list[Command]:
    from appliance.host.discovery import discover
    from appliance.host.plugins import Plugins

    return [entry.command for entry in Plugins(discover()).commands()]
