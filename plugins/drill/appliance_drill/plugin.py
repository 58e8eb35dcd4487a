"""The drill plugin: what it contributes to an appliance, and no logic."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.events import Event, Request
from appliance.plugin import Command, Service, hookimpl
from appliance_drill import commands, events


class Drill:
    """Failures of this node, rehearsed."""

    api = (1, 0)

    @hookimpl
    def appliance_services(self) -> list[Service]:
        # Imported here: the command line needs no sockets.
        from appliance_drill import service

        return [Service(key="stage", run=service.run)]

    @hookimpl
    def appliance_events(self) -> Sequence[type[Event] | type[Request[object]]]:
        return [events.Begin, events.End]

    @hookimpl
    def appliance_commands(self) -> Sequence[Command]:
        return commands.COMMANDS
