"""Every command says truly whether it only looks: a viewer may run those that do, and no others."""

from __future__ import annotations

from appliance.console.commands import daemon_commands
from appliance.host.discovery import discover
from appliance.host.plugins import Plugins
from appliance.plugin import Command, Where

LOOKING = {
    ("config", "diff"),
    ("config", "history"),
    ("config", "show"),
    ("dhcp", "lease", "find"),
    ("configure", "status"),
    ("doctor",),
    ("events",),
    ("events", "why"),
    ("image", "upgrade-status"),
    ("metrics",),
    ("monitor", "ha"),
    ("pair", "list"),
    ("shell", "grammar"),
    ("shell", "watch"),
    ("states", "count"),
    ("sync", "diff"),
    ("sync", "status"),
}
"""Commands besides `show` that change nothing. Whoever adds one has to be sure."""


def commands() -> list[Command]:
    """All that run inside a node."""
    contributed = [entry.command for entry in Plugins(discover()).commands()]
    return [command for command in (*daemon_commands(), *contributed) if command.where is Where.DAEMON]


def test_whatever_shows_something_may_be_run_by_a_viewer() -> None:
    assert [command.path for command in commands() if command.path[0] == "show" and not command.reads] == []


def test_what_else_a_viewer_may_run_changes_nothing() -> None:
    looking = {command.path for command in commands() if command.reads and command.path[0] != "show"}
    assert looking - LOOKING == set()
    assert {("doctor",), ("states", "count"), ("config", "show")} <= looking
