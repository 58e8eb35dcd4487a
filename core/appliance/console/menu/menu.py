"""The menu: numbers to commands. Whatever is chosen runs as a program of its own, and the menu comes back after it."""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance import __version__
from appliance.console.menu.screen import banner, numbered
from appliance.console.wizard.answers import choice
from appliance.console.wizard.askers import Asker, Question
from appliance.errors import ApplianceError, UnreachableError, UsageError

PINGS = "3"
SERVICE = "appliance.service"
WIZARD = "Assign interfaces (wizard)"
PASSWORD = "Reset the password of this user"
PROMPT = "Enter a number, or a command"
MASTERS = frozenset({"MASTER", "MIXED"})
"""Roles in which somebody would notice that the node goes."""
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")

Run = Callable[[Sequence[str]], int]
Data = Callable[[Sequence[str]], Any]
Entries = Sequence[tuple[str, Callable[["Menu"], None]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Menu:
    """One console."""

    asker: Asker
    run: Run
    """Runs a program on this terminal and gives its exit status; the command `appliance` asks this node."""
    data: Data
    """The data of a command of the node."""
    entries: Entries = ()
    """What can be chosen, if not `ENTRIES`."""
    offers: Callable[[Sequence[str]], bool] = lambda _: True
    """Whether this installation has a command."""

    def loop(self) -> None:
        """Until somebody leaves, or the input ends.

        Raises:
            UsageError: The input ended.
        """
        labels = [label for label, _ in self.entries or ENTRIES]
        while True:
            self.asker.say(f"\n{self._banner()}\n\n{numbered(labels)}\n")
            chosen = self.asker.ask(Question(key="menu", prompt=PROMPT, parse=lambda text: _chosen(text, len(labels))))
            if chosen == 0:
                return
            try:
                if isinstance(chosen, int):
                    self.choose(labels[chosen - 1])
                else:
                    self.run(["appliance", *chosen])
            except UsageError:
                raise
            except ApplianceError as error:
                self.asker.say(f"{error.message}\n  {error.hint}")

    def choose(self, label: str) -> None:
        """Do what an entry says."""
        dict(self.entries or ENTRIES)[label](self)

    def ask(self, prompt: str, parse: Callable[[str], str], default: str | None = None) -> str:
        """One answer."""
        return self.asker.ask(Question(key=prompt, prompt=prompt, parse=parse, default=default))

    def is_agreed(self, prompt: str) -> bool:
        """Whether somebody says yes; no is the default."""
        return self.ask(prompt, lambda text: choice(text, "yes", "no"), "no") == "yes"

    def status(self) -> Mapping[str, Any] | None:
        """What `show ha` says; `None` when no node runs."""
        try:
            found: Mapping[str, Any] = self.data(["show", "ha"])
        except UnreachableError:
            return None
        return found

    def _banner(self) -> str:
        try:
            ha = self.status()
            rows = self.data(["show", "interfaces"])["interfaces"] if ha is not None else ()
        except ApplianceError:  # a viewer may not ask, or nobody keeps interfaces here
            ha, rows = None, ()
        return banner(__version__, ha, rows)


def _is_let_go(menu: Menu, verb: str) -> bool:
    """Whether the node may go: a MASTER hands over first, and when nobody takes over it takes another yes."""
    status = menu.status()
    if status is None or status["role"] not in MASTERS:
        return True
    menu.asker.say("This node is MASTER and hands over first.")
    is_handed_over = menu.run(["appliance", "ha", "switchover"]) == 0
    return is_handed_over or menu.is_agreed(f"{verb} it although nobody takes over")


def _leave(verb: str, command: str) -> Callable[[Menu], None]:
    """Reboot or halt."""

    def act(menu: Menu) -> None:
        if menu.is_agreed(f"{verb} this machine") and _is_let_go(menu, verb):
            menu.run(["systemctl", command])

    return act


def _defaults(menu: Menu) -> None:
    """Factory defaults, then the wizard. A node that does not stop keeps everything."""
    menu.asker.say("Configuration, its history, identity and pairing of this machine are forgotten; a copy is kept.")
    if not (menu.is_agreed("Reset this machine") and _is_let_go(menu, "Reset")):
        return
    menu.run(["systemctl", "stop", SERVICE])
    if menu.run(["appliance", "factory-defaults", "--yes"]):
        menu.run(["systemctl", "start", SERVICE])
    else:
        menu.choose(WIZARD)


def _upgrade(menu: Menu) -> None:
    """Another version of the whole system, where it is an image."""
    if not menu.offers(["image", "add"]):
        menu.asker.say("This is no image: the software is upgraded as it was installed, then the node is restarted.")
        return
    file = menu.ask("File or disk with the upgrade (empty: none)", str, "")
    if not file:
        return
    if menu.offers(["image", "upgrade-cluster"]):
        whole = menu.ask("This node, or the whole cluster", lambda text: choice(text, "node", "cluster"), "cluster")
        if whole == "cluster":
            menu.run(["appliance", "image", "upgrade-cluster", file])
            return
    if not menu.run(["appliance", "image", "add", file]):
        menu.asker.say("It boots next.")
        _leave("Reboot", "reboot")(menu)


def _maintenance(menu: Menu) -> None:
    mode = menu.ask("Maintenance mode", lambda text: choice(text, "on", "off"), "on")
    menu.run(["appliance", "ha", "maintenance", mode])


def _drill(menu: Menu) -> None:
    if menu.is_agreed("Rehearse failures on this cluster now; everything is put back"):
        menu.run(["appliance", "drill"])


def _ping(menu: Menu) -> None:
    menu.run(["ping", "-c", PINGS, menu.ask("Address or name", host)])


def _restore(menu: Menu) -> None:
    if menu.run(["appliance", "config", "history"]):
        return
    revision = menu.ask("Revision to restore (empty: none)", lambda text: "" if not text else _revision(text), "")
    if revision and menu.is_agreed(f"Put revision {revision} in force"):
        menu.run(["appliance", "config", "rollback", revision])


def program(*argv: str) -> Callable[[Menu], None]:
    """An entry that runs a program."""
    return lambda menu: (menu.run(argv), None)[1]


ENTRIES: Entries = (
    (WIZARD, program("appliance", "wizard")),
    ("Set addresses (configuration mode)", program("appliance", "configure")),
    (PASSWORD, program("passwd")),
    ("Restore a configuration", _restore),
    ("Factory defaults", _defaults),
    ("Reboot", _leave("Reboot", "reboot")),
    ("Halt", _leave("Halt", "poweroff")),
    ("Ping a host", _ping),
    ("Shell of the appliance", program("appliance")),
    ("Log", program("appliance", "show", "log")),
    ("Upgrade the system", _upgrade),
    ("HA status", program("appliance", "show", "ha")),
    ("HA status, live (Ctrl-C ends it)", program("appliance", "monitor", "ha")),
    ("HA maintenance mode", _maintenance),
    ("HA switchover", program("appliance", "ha", "switchover")),
    ("HA synchronize now", program("appliance", "sync", "now")),
    ("HA drill", _drill),
    ("Doctor", program("appliance", "doctor")),
)
"""In the order in which pfSense's users expect them; what is about HA comes last."""


def host(text: str) -> str:
    """An address or the name of a host, and never an option of the program that gets it."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        if _HOST.fullmatch(text):
            return text
    raise UsageError(f"`{text}` is no address and no name", hint="Give 192.0.2.1, 2001:db8::1 or a name.")


def _chosen(text: str, last: int) -> int | list[str]:
    """A number of the menu, or the words of a command."""
    if text and not text[0].isdigit():
        try:
            return shlex.split(text)
        except ValueError as error:
            raise UsageError(f"`{text}` is no command: {error}", hint="Close what is quoted.") from None
    if text not in map(str, range(last + 1)):
        raise UsageError(f"`{text}` is not in the menu", hint=f"Enter a number from 0 to {last}, or a command.")
    return int(text)


def _revision(text: str) -> str:
    if not text.isdecimal():
        raise UsageError(f"`{text}` is no revision", hint="Give a number of the list above.")
    return text
