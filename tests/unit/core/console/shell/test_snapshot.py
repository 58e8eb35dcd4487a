"""Declarations survive the way to the shell, for every command there is."""

import json

import pytest

from appliance.console.commands import daemon_commands
from appliance.console.grammar import usage
from appliance.console.shell.snapshot import described, restored
from appliance.host.discovery import discover
from appliance.host.plugins import Plugins


def test_what_is_restored_is_described_the_same() -> None:
    plugins = Plugins(discover())
    plugins.enable(plugins.tables())
    commands = [*daemon_commands(), *(entry.command for entry in plugins.commands())]
    for command in commands:
        data = json.loads(json.dumps(described(command)))
        again = restored(data)
        assert described(again) == described(command)
        assert (again.path, again.help, usage(again)) == (command.path, command.help, usage(command))


def test_something_else_is_refused() -> None:
    with pytest.raises(KeyError):
        restored({"path": ["show"]})
