"""The images plugin: what it contributes to an appliance, and no logic."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.plugin import Command, ImagePart, hookimpl
from appliance_images import commands


class Images:
    """Bootable images, and the two system slots of a machine that runs one."""

    api = (1, 0)

    @hookimpl
    def appliance_commands(self) -> Sequence[Command]:
        return commands.COMMANDS

    @hookimpl
    def appliance_image(self) -> ImagePart:
        return ImagePart()
