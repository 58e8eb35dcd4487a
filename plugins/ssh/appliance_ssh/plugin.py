"""The ssh plugin: what it contributes to an appliance, and no logic."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.config import Config
from appliance.errors import Problem
from appliance.events import Event, Request
from appliance.plugin import Check, Command, ConfigTable, ImagePart, Isolation, Service, SyncSection, hookimpl
from appliance_ssh import checks, commands, events, verify
from appliance_ssh.config import SshConfig, settings_of

SUMMARY = "The console over SSH, for users with keys."


class Ssh:
    """People at a distance."""

    api = (1, 0)

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(name="ssh", model=SshConfig, summary=SUMMARY)

    @hookimpl
    def appliance_verify(self, config: Config) -> list[Problem]:
        return verify.verify(config)

    @hookimpl
    def appliance_services(self, config: Config) -> list[Service]:
        # Imported here: the command line needs no sockets.
        from appliance_ssh import service

        return [
            Service(
                key="console",
                run=service.run,
                config=settings_of(config),
                grace_s=3.0,
                after=frozenset({"interfaces"}),
                # Starting a program stops the loop until it has begun: strangers shall not do that to the node's.
                isolation=Isolation(freeze_gc=True),
            )
        ]

    @hookimpl
    def appliance_events(self) -> Sequence[type[Event] | type[Request[object]]]:
        return [events.SessionOpened, events.SessionClosed, events.LoginRefused, events.GetSsh, events.EndSession]

    @hookimpl
    def appliance_commands(self) -> Sequence[Command]:
        return commands.COMMANDS

    @hookimpl
    def appliance_checks(self) -> list[Check]:
        return list(checks.CHECKS)

    @hookimpl
    def appliance_sync_sections(self) -> Sequence[SyncSection]:
        return [SyncSection(name="ssh", keys=(("ssh",),))]

    @hookimpl
    def appliance_image(self) -> ImagePart:
        return ImagePart(
            packages=("libnss-extrausers", "openssh-server"),
            files={"/etc/nsswitch.conf": "appliance_ssh:nsswitch.conf"},
        )
