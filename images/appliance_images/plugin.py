"""The images plugin: what it contributes to an appliance, and no logic."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.config import Config
from appliance.errors import Problem
from appliance.events import Event, Request
from appliance.plugin import Command, ConfigTable, ImagePart, Service, hookimpl
from appliance_images import commands
from appliance_images.cluster import commands as cluster_commands
from appliance_images.cluster import config as cluster
from appliance_images.cluster import events

SUMMARY = "The nodes of a cluster of images may upgrade each other."


class Images:
    """Bootable images, the two system slots of a machine that runs one, and upgrades of a cluster of them."""

    api = (1, 0)

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(name="upgrade", model=cluster.UpgradeConfig, summary=SUMMARY)

    @hookimpl
    def appliance_verify(self, config: Config) -> list[Problem]:
        return cluster.verify(config)

    @hookimpl
    def appliance_services(self, config: Config) -> list[Service]:
        # Imported here: the command line needs neither TLS nor HTTP.
        from appliance_images.cluster import service

        return [
            Service(
                key="upgrade",
                run=service.run,
                config=cluster.settings_of(config),
                after=frozenset({"interfaces", "keys", "ruleset"}),
            )
        ]

    @hookimpl
    def appliance_events(self) -> Sequence[type[Event] | type[Request[object]]]:
        return [events.UpgradeStep, events.UpgradeCluster, events.GetUpgrade]

    @hookimpl
    def appliance_commands(self) -> Sequence[Command]:
        return (*commands.COMMANDS, *cluster_commands.COMMANDS)

    @hookimpl
    def appliance_image(self) -> ImagePart:
        return ImagePart()
