"""The metrics plugin: what it contributes to an appliance, and no logic."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.config import Config
from appliance.errors import Problem
from appliance.events import Event, Request
from appliance.plugin import Check, Command, ConfigTable, Service, SyncSection, hookimpl
from appliance_metrics import checks, commands, events, verify
from appliance_metrics.config import MetricsConfig, settings_of

SUMMARY = "The numbers of this node for Prometheus."


class Metrics:
    """Numbers out."""

    api = (1, 0)

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(name="metrics", model=MetricsConfig, summary=SUMMARY)

    @hookimpl
    def appliance_verify(self, config: Config) -> list[Problem]:
        return verify.verify(config)

    @hookimpl
    def appliance_services(self, config: Config) -> list[Service]:
        # Imported here: the command line needs neither the library nor sockets.
        from appliance_metrics import service

        return [Service(key="exporter", run=service.run, config=settings_of(config), after=frozenset({"interfaces"}))]

    @hookimpl
    def appliance_events(self) -> Sequence[type[Event] | type[Request[object]]]:
        return [events.GetExporter]

    @hookimpl
    def appliance_commands(self) -> Sequence[Command]:
        return commands.COMMANDS

    @hookimpl
    def appliance_checks(self) -> list[Check]:
        return list(checks.CHECKS)

    @hookimpl
    def appliance_sync_sections(self) -> Sequence[SyncSection]:
        return [SyncSection(name="metrics", keys=(("metrics",),))]
