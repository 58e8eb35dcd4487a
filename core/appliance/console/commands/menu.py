"""`appliance menu`: the menu of a machine's console."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from functools import partial

from appliance.control.client import DEFAULT_SOCKET
from appliance.errors import UsageError
from appliance.plugin import Command, Where

OWN = "import sys; from appliance.cli import main; sys.exit(main())"


def menu() -> int:
    """Show the menu until somebody leaves it."""
    from appliance.console.menu.menu import Menu
    from appliance.console.shell import node
    from appliance.console.wizard.askers import Terminal

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("the menu needs a terminal", hint="`appliance help` lists the commands behind it.")
    path = os.environ.get("APPLIANCE_SOCKET") or DEFAULT_SOCKET
    Menu(asker=Terminal(sys.stdin, sys.stdout), run=run, data=partial(node.data, path), offers=offers).loop()
    return 0


def offers(path: Sequence[str]) -> bool:
    """Whether this installation has a command, also one of a plugin."""
    from appliance.console.local import everything

    return any(command.path == tuple(path) for command in everything().commands(path))


def run(argv: Sequence[str]) -> int:
    """Run a program on this terminal; Ctrl-C ends it and not the menu.

    `appliance` is this very installation, whatever the search path says.
    """
    own = [sys.executable, "-c", OWN] if argv[0] == "appliance" else [argv[0]]
    try:
        return subprocess.run([*own, *argv[1:]], check=False).returncode
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        sys.stdout.write(f"cannot run {argv[0]}: {error.strerror}\n  Install it, or do it by other means.\n")
        return 1


COMMANDS = (Command(path=("menu",), help="The numbered menu of the machine's console.", run=menu, where=Where.LOCAL),)
