"""The console of a machine that runs an image: who may in, the wizard of a first start, then the menu for ever.

Root runs it on the serial line and on the screen (`appliance-console@.service`). Nobody leaves it to a shell of the
system: Ctrl-C, an end of the input and an error lead back to the menu, at worst through a new start of this program.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from appliance.console.commands.menu import offers
from appliance.console.menu.menu import ENTRIES, PASSWORD, WIZARD, Entries, Menu, program
from appliance.console.shell import node
from appliance.console.wizard.askers import Terminal
from appliance.control.client import DEFAULT_SOCKET
from appliance.errors import ApplianceError, UsageError
from appliance_images import firstboot, login, screen

OWN = "/usr/bin/appliance"
"""On an image it starts the commands `image` without all plugins."""
LOG = ("journalctl", "-b", "-n", "200", "--no-pager", "-o", "short-monotonic")
OF_THE_SYSTEM = {"log": LOG, "reboot": ("systemctl", "reboot"), "poweroff": ("systemctl", "poweroff")}
"""What may be typed besides commands of the appliance."""
UNCONFIGURED = "This machine has no configuration. The wizard makes one; Ctrl-C leads to the menu."
INTERRUPTED = 130


def install(menu: Menu) -> None:
    """Choose a disk of this machine, and put the system on it."""
    if not menu.run(["appliance", "image", "disks"]):
        disk = menu.ask("Disk to install on (empty: none)", str, "")
        if disk:
            menu.run(["appliance", "image", "install", disk])


def entries() -> Entries:
    """The menu of an image: that of `appliance menu`, where some entries mean this machine and not its files."""
    here = {
        WIZARD: program("appliance", "image", "setup"),
        PASSWORD: program("appliance", "image", "password"),
    }
    of_image: Entries = (
        ("Log of the system", program(*LOG)),
        ("System slots", program("appliance", "image", "list")),
        ("Install on a disk of this machine", install),
    )
    return (*((label, here.get(label, act)) for label, act in ENTRIES), *of_image)


def meant(argv: Sequence[str]) -> Sequence[str]:
    """The program behind what the menu runs: the appliance of this image, or one of the system."""
    if argv[0] != "appliance":
        return argv
    return OF_THE_SYSTEM.get(" ".join(argv[1:]), (OWN, *argv[1:]))


def run(argv: Sequence[str]) -> int:
    """Run a program on this terminal, whose size may have changed since; Ctrl-C ends it and not the menu."""
    screen.fit()
    try:
        return subprocess.run(meant(argv), check=False).returncode
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        sys.stdout.write(f"cannot run {argv[0]}: {error.strerror}\n")
        return 1


def console(
    config: Path = firstboot.CONFIG,
    *,
    start: Callable[[Sequence[str]], int] = run,
    socket: str = DEFAULT_SOCKET,
    environment: Mapping[str, str] = os.environ,
) -> int:
    """Run the console until its input ends; whoever started it starts it again then."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("the console needs a terminal", hint="It is started on the terminals of an image.")
    screen.fit()
    asker = Terminal(sys.stdin, sys.stdout)
    data = partial(node.data, environment.get("APPLIANCE_SOCKET", socket))
    menu = Menu(asker=asker, run=start, data=data, entries=entries(), offers=offers)
    wants_wizard = not config.exists()
    while True:
        try:
            login.let_in(login.accounts_of(config), asker, time.sleep)
            if wants_wizard and not config.exists():
                wants_wizard = False
                asker.say(f"\n{UNCONFIGURED}\n")
                start(["appliance", "image", "setup"])
            menu.loop()
        except KeyboardInterrupt:
            sys.stdout.write("\n")
        except UsageError:
            return 0  # the input ended: the terminal is another one now
        except ApplianceError as error:
            asker.say(f"{error.message}\n  {error.hint}")
