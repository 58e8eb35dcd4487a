"""The lagg plugin: what it contributes to an appliance, and no logic."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.config import Config
from appliance.errors import Problem
from appliance.events import Event, Request
from appliance.plugin import Check, Command, ConfigTable, ImagePart, KernelNeed, Service, hookimpl
from appliance_lagg import checks, commands, events, verify
from appliance_lagg.config import LaggConfig, settings_of


class Lagg:
    """Link aggregation: several network devices that work as one."""

    api = (1, 0)

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(
            name="lagg",
            model=LaggConfig,
            summary="Link aggregation: several network devices that work as one.",
        )

    @hookimpl
    def appliance_verify(self, config: Config, old: Config | None) -> list[Problem]:
        return verify.verify(config, old)

    @hookimpl
    def appliance_kernel(self, config: Config) -> list[KernelNeed]:
        return [KernelNeed(path=("lagg",), kind="bond", what_for="link aggregation")] if config[LaggConfig].root else []

    @hookimpl
    def appliance_services(self, config: Config) -> list[Service]:
        # Imported here: it brings pyroute2, which the command line does not need.
        from appliance_lagg import service

        return [
            Service(key="keeper", run=service.run, config=settings_of(config), provides=frozenset({"lagg"})),
        ]

    @hookimpl
    def appliance_events(self) -> Sequence[type[Event] | type[Request[object]]]:
        return [
            events.MemberUp,
            events.MemberDown,
            events.ActiveMemberChanged,
            events.PartnerChanged,
            events.GetLaggs,
        ]

    @hookimpl
    def appliance_commands(self) -> Sequence[Command]:
        return commands.COMMANDS

    @hookimpl
    def appliance_checks(self) -> Sequence[Check]:
        return checks.CHECKS

    @hookimpl
    def appliance_image(self) -> ImagePart:
        return ImagePart(
            packages=("iproute2", "ethtool"),
            kernel_modules=("bonding",),
            files={"/etc/modprobe.d/appliance-lagg.conf": "appliance_lagg:modprobe.conf"},
        )
