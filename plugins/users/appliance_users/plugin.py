"""The users plugin: what it contributes to an appliance, and no logic."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.config import Config
from appliance.errors import Problem
from appliance.events import Event, Request
from appliance.plugin import Check, Command, ConfigTable, Service, SyncSection, hookimpl
from appliance_users import checks, commands, events, service, sync, verify
from appliance_users.config import UsersConfig, settings_of

SUMMARY = "Who may do what with this node: names, passwords, roles."


class Users:
    """People and programs by name."""

    api = (1, 0)

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(name="users", model=UsersConfig, summary=SUMMARY)

    @hookimpl
    def appliance_verify(self, config: Config) -> list[Problem]:
        return verify.verify(config)

    @hookimpl
    def appliance_services(self, config: Config) -> list[Service]:
        return [Service(key="directory", run=service.run, config=settings_of(config[UsersConfig]))]

    @hookimpl
    def appliance_events(self) -> Sequence[type[Event] | type[Request[object]]]:
        return [events.GetUsers]

    @hookimpl
    def appliance_commands(self) -> Sequence[Command]:
        return commands.COMMANDS

    @hookimpl
    def appliance_checks(self, config: Config) -> list[Check]:
        return checks.checks(config)

    @hookimpl
    def appliance_sync_sections(self) -> Sequence[SyncSection]:
        return sync.SECTIONS
