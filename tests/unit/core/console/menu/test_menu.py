"""What is chosen is run; a MASTER hands over before it goes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pytest

from appliance.console.menu.menu import ENTRIES, Menu, host
from appliance.console.wizard.askers import Terminal
from appliance.errors import RefusedError, UnreachableError, UsageError

LABELS = [label for label, _ in ENTRIES]
HISTORY = ["appliance", "config", "history"]
HANDOVER = ["appliance", "ha", "switchover"]
STOP, START = (["systemctl", verb, "appliance.service"] for verb in ("stop", "start"))
DEFAULTS = ["appliance", "factory-defaults", "--yes"]
ADD = ["appliance", "image", "add", "/media/new.upgrade"]
REBOOT = ["systemctl", "reboot"]


class Console:
    """A console on which somebody types, and what that ran."""

    def __init__(
        self, role: str = "BACKUP", *, failing: Sequence[Sequence[str]] = (), offered: Sequence[str] = ()
    ) -> None:
        self.role, self.failing, self.offered = role, failing, offered
        self.ran: list[list[str]] = []
        self.screen = io.StringIO()

    def run(self, argv: Sequence[str]) -> int:
        self.ran.append(list(argv))
        return 1 if argv in self.failing else 0

    def data(self, argv: Sequence[str]) -> Any:
        if not self.role:
            raise UnreachableError("no node is running", hint="Start it.")
        if self.role == "refused":
            raise RefusedError("you may not ask", hint="Ask somebody who may.")
        if argv[-1] == "ha":
            return {"role": self.role, "summary": f"fw1 is {self.role}", "problems": []}
        return {"interfaces": []}

    def offers(self, path: Sequence[str]) -> bool:
        return " ".join(path) in self.offered

    def type(self, label: str, *lines: str) -> list[list[str]]:
        text = "\n".join([str(LABELS.index(label) + 1), *lines, "0"]) + "\n"
        Menu(asker=Terminal(io.StringIO(text), self.screen), run=self.run, data=self.data, offers=self.offers).loop()
        return self.ran


@pytest.mark.parametrize(
    ("label", "lines", "expected"),
    [
        ("Assign interfaces (wizard)", [], [["appliance", "wizard"]]),
        ("HA status", [], [["appliance", "show", "ha"]]),
        ("HA status, live (Ctrl-C ends it)", [], [["appliance", "monitor", "ha"]]),
        ("HA drill", [""], []),
        ("HA drill", ["yes"], [["appliance", "drill"]]),
        ("HA synchronize now", [], [["appliance", "sync", "now"]]),
        ("HA maintenance mode", ["off"], [["appliance", "ha", "maintenance", "off"]]),
        ("Ping a host", ["-f", "192.0.2.1"], [["ping", "-c", "3", "192.0.2.1"]]),
        ("Restore a configuration", ["4", "yes"], [HISTORY, ["appliance", "config", "rollback", "4"]]),
        ("Restore a configuration", ["4", "no"], [HISTORY]),
        ("Restore a configuration", [""], [HISTORY]),
        ("Reboot", [""], []),
        ("Reboot", ["yes"], [["systemctl", "reboot"]]),
        ("Halt", ["yes"], [["systemctl", "poweroff"]]),
    ],
)  # fmt: skip
def test_a_number_runs_what_its_label_says(label: str, lines: list[str], expected: list[list[str]]) -> None:
    assert Console().type(label, *lines) == expected


def test_a_command_runs_as_it_is_typed() -> None:
    console = Console()
    Menu(
        asker=Terminal(io.StringIO("show carp --json\n0\n"), console.screen), run=console.run, data=console.data
    ).loop()
    assert console.ran == [["appliance", "show", "carp", "--json"]]


def test_a_master_hands_over_before_it_is_halted() -> None:
    for role in ("MASTER", "MIXED"):
        assert Console(role).type("Halt", "yes") == [HANDOVER, ["systemctl", "poweroff"]]


def test_a_master_whom_nobody_follows_needs_another_yes() -> None:
    assert Console("MASTER", failing=[HANDOVER]).type("Reboot", "yes", "no") == [HANDOVER]
    assert Console("MASTER", failing=[HANDOVER]).type("Reboot", "yes", "yes") == [HANDOVER, ["systemctl", "reboot"]]


def test_factory_defaults_stop_the_node_and_lead_to_the_wizard() -> None:
    forgotten = [STOP, DEFAULTS, ["appliance", "wizard"]]
    assert Console().type("Factory defaults", "yes") == forgotten
    assert Console("MASTER").type("Factory defaults", "yes") == [HANDOVER, *forgotten]
    assert Console().type("Factory defaults", "") == []


def test_a_node_that_keeps_its_configuration_is_started_again() -> None:
    assert Console(failing=[DEFAULTS]).type("Factory defaults", "yes") == [STOP, DEFAULTS, START]


def test_an_upgrade_is_for_images_and_for_the_whole_cluster_where_that_can_be() -> None:
    console = Console()
    assert console.type("Upgrade the system") == []
    assert "This is no image" in console.screen.getvalue()
    image = ("image add",)
    assert Console(offered=image).type("Upgrade the system", "") == []
    assert Console(offered=image).type("Upgrade the system", ADD[-1], "yes") == [ADD, REBOOT]
    assert Console(offered=image).type("Upgrade the system", ADD[-1], "no") == [ADD]
    assert Console(offered=image, failing=[ADD]).type("Upgrade the system", ADD[-1]) == [ADD]
    both = (*image, "image upgrade-cluster")
    assert Console(offered=both).type("Upgrade the system", ADD[-1], "") == [
        ["appliance", "image", "upgrade-cluster", ADD[-1]]
    ]
    assert Console(offered=both).type("Upgrade the system", ADD[-1], "node", "no") == [ADD]


def test_another_list_of_entries_may_be_given() -> None:
    menu = Console()
    text = io.StringIO("1\n0\n")
    only = (("Nothing else", lambda menu: (menu.run(["true"]), None)[1]),)
    Menu(asker=Terminal(text, menu.screen), run=menu.run, data=menu.data, entries=only).loop()
    assert menu.ran == [["true"]]


def test_a_machine_without_a_node_can_be_rebooted() -> None:
    console = Console("")
    assert console.type("Reboot", "yes") == [["systemctl", "reboot"]]
    assert "no node is running" in console.screen.getvalue()


def test_a_role_that_is_not_known_reboots_nothing() -> None:
    console = Console("refused")
    assert console.type("Reboot", "yes") == []
    assert "you may not ask\n  Ask somebody who may." in console.screen.getvalue()


def test_a_number_that_is_not_there_is_asked_again_and_the_end_of_the_input_ends_it() -> None:
    screen = io.StringIO()
    console = Console()
    with pytest.raises(UsageError, match="the input ended"):
        Menu(asker=Terminal(io.StringIO("99\n"), screen), run=console.run, data=console.data).loop()
    assert f"`99` is not in the menu\n  Enter a number from 0 to {len(ENTRIES)}, or a command." in screen.getvalue()


@pytest.mark.parametrize("text", ["", "-f", "a b", "x;reboot", "$(id)"])
def test_what_is_no_host_is_not_pinged(text: str) -> None:
    with pytest.raises(UsageError, match="no address and no name"):
        host(text)
    assert host("2001:db8::1") == "2001:db8::1"
    assert host("router.example.net") == "router.example.net"
