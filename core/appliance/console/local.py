"""Commands that run in the calling process: finding them, running them, printing what they return."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

from appliance.console import commands
from appliance.console.grammar import Grammar, Parsed
from appliance.console.render import render, visible
from appliance.plugin import Command, Where


def grammar(head: str) -> Grammar:
    """The local commands behind one first word.

    Importing every plugin takes a second. The plugin behind `image build` is called ``images``, so those come first
    whose name has the word in it; a wrong guess costs time, nothing else.
    """
    if head in commands.LOCAL_HEADS:
        return Grammar(commands.local_commands(head))
    guessed = Grammar(_local_of_plugins(lambda name: head in name))
    if guessed.knows([head]):
        return guessed
    return Grammar([*commands.local_commands(), *_local_of_plugins()])


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


def _local_of_plugins(wanted: Callable[[str], bool] = lambda _: True) -> list[Command]:
    return [command for command in _of_plugins(wanted) if command.where is Where.LOCAL]


def _of_plugins(wanted: Callable[[str], bool] = lambda _: True) -> list[Command]:
    from appliance.host.discovery import discover
    from appliance.host.plugins import Plugins

    return [entry.command for entry in Plugins(each for each in discover() if wanted(each.name)).commands()]
