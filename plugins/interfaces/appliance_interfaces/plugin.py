"""The interfaces plugin: what it contributes to an appliance, and no logic."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.config import Config
from appliance.errors import Problem
from appliance.events import Event, Request
from appliance.plugin import Check, Command, ConfigTable, ImagePart, Service, hookimpl
from appliance_interfaces import checks, commands, events, verify
from appliance_interfaces.config import InterfacesConfig, settings_of


class Interfaces:
    """Logical interfaces: names bound to devices, addresses, VLANs and static routes."""

    api = (1, 0)

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(
            name="interfaces",
            model=InterfacesConfig,
            summary="Logical interfaces: names bound to devices, addresses, VLANs and static routes.",
        )

    @hookimpl
    def appliance_verify(self, config: Config) -> list[Problem]:
        return verify.verify(config[InterfacesConfig])

    @hookimpl
    def appliance_services(self, config: Config) -> list[Service]:
        # Imported here: it brings pyroute2, which the command line does not need.
        from appliance_interfaces import service

        settings = settings_of(config[InterfacesConfig])
        return [
            Service(
                key="keeper",
                run=service.run,
                config=settings,
                after=frozenset({"lagg"}),  # devices of which some interfaces may be made
                provides=frozenset({"interfaces"}),
            )
        ]

    @hookimpl
    def appliance_events(self) -> Sequence[type[Event] | type[Request[object]]]:
        return [events.GetInterfaces]

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
            kernel_modules=("8021q",),
            sysctls={"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"},
        )
