"""The core's own commands, loaded only as far as a command line needs them.

Each module of this package exports ``COMMANDS``, a tuple. `LOCAL_HEADS` lets the client decide without
importing any of them where a command runs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from appliance.plugin import Command

LOCAL_HEADS = {
    "run": ("appliance.console.commands.run",),
    "check": ("appliance.console.commands.config",),
    "version": ("appliance.console.commands.run",),
    "help": ("appliance.console.commands.run",),
    "plugin": ("appliance.console.commands.plugin",),
    "capture": ("appliance.console.commands.capture",),
    "ping": ("appliance.console.commands.ping",),
    "wizard": ("appliance.console.commands.wizard",),
    "factory-defaults": ("appliance.console.commands.factory",),
    "menu": ("appliance.console.commands.menu",),
    "lab": ("appliance.lab.commands",),
    "drill": ("appliance.lab.drill_commands",),
}
"""First words of commands that run in the calling process, and where they are."""

DAEMON_MODULES = (
    "appliance.console.commands.show",
    "appliance.console.commands.events",
    "appliance.console.commands.log",
    "appliance.console.commands.config",
    "appliance.console.commands.configure",
    "appliance.console.commands.shell",
)


def daemon_commands() -> tuple[Command, ...]:
    """The core's commands that run inside the node."""
    return tuple(command for command in _load(DAEMON_MODULES) if command.where == "daemon")


def local_commands(head: str | None = None) -> tuple[Command, ...]:
    """The core's commands that run in the calling process; only those of one first word, if given."""
    modules = LOCAL_HEADS.get(head, ()) if head is not None else _all_local_modules()
    return tuple(command for command in _load(modules) if command.where == "local")


def _all_local_modules() -> tuple[str, ...]:
    return tuple(dict.fromkeys(module for modules in LOCAL_HEADS.values() for module in modules))


def _load(modules: tuple[str, ...]) -> list[Command]:
    return [command for module in modules for command in import_module(module).COMMANDS]
