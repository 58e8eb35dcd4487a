"""The notify plugin: what it contributes to an appliance, and no logic."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.config import Config
from appliance.errors import Problem
from appliance.events import Event, Request
from appliance.plugin import Check, Command, ConfigTable, CrashPolicy, ImagePart, Service, SyncSection, hookimpl
from appliance_notify import checks, commands, events, verify
from appliance_notify.config import NotifyConfig, settings_of

SUMMARY = "Tells people and programs elsewhere what happens: by webhook, mail and syslog."


class Notify:
    """Events out."""

    api = (1, 0)

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(name="notify", model=NotifyConfig, summary=SUMMARY)

    @hookimpl
    def appliance_verify(self, config: Config) -> list[Problem]:
        return verify.verify(config)

    @hookimpl
    def appliance_services(self, config: Config) -> list[Service]:
        # Imported here: the command line needs neither sockets nor mail.
        from appliance_notify import service

        return [
            Service(
                key="messenger",
                run=service.run,
                config=settings_of(config),
                # Whether anybody is told must never decide who is MASTER.
                on_crash=CrashPolicy.RESTART,
                grace_s=service.GRACE_S,
                after=frozenset({"interfaces"}),
            )
        ]

    @hookimpl
    def appliance_events(self) -> Sequence[type[Event] | type[Request[object]]]:
        return [events.GetNotify, events.SendTestNotice]

    @hookimpl
    def appliance_commands(self) -> Sequence[Command]:
        return commands.COMMANDS

    @hookimpl
    def appliance_checks(self) -> list[Check]:
        return list(checks.CHECKS)

    @hookimpl
    def appliance_sync_sections(self) -> Sequence[SyncSection]:
        return [SyncSection(name="notifications", keys=(("notify",),))]

    @hookimpl
    def appliance_image(self) -> ImagePart:
        return ImagePart(packages=("ca-certificates",))
