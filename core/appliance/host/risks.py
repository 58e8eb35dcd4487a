"""Changes that a running node refuses, and those that may cut off whoever makes them: they have to be confirmed."""

from __future__ import annotations

from collections.abc import Callable

from appliance.config.loader import Loaded
from appliance.config.model import Config
from appliance.errors import ConfigError, Problem

SUGGESTED_S = 120
"""Time to find out whether everything can still be reached."""


def refuse_risks(loaded: Loaded, restore: Callable[[], None]) -> None:
    """Refuse a change for good that a plugin wants confirmed (`Problem.severity`).

    Args:
        loaded: The new configuration.
        restore: Makes the plugins of the one in force the enabled ones again.

    Raises:
        ConfigError: With every reason.
    """
    if not loaded.risks:
        return
    restore()
    raise ConfigError(
        "\n".join(loaded.risks),
        hint=f"Nothing has been changed. If it is meant, let it go away by itself: 'appliance config reload --confirm "
        f"{SUGGESTED_S}', look whether all nodes are still reached, then 'appliance config confirm'.",
    )


def identity_changes(old: Config, new: Config) -> list[Problem]:
    """What a running node cannot change about itself."""
    pairs: list[tuple[tuple[str, str], object, object]] = [
        (("node", "name"), old.node.name, new.node.name),
        (("node", "role"), old.node.role, new.node.role),
        (("plugins", "blocked"), sorted(old.plugins.blocked), sorted(new.plugins.blocked)),
    ]
    message = "a running node cannot change this; restart it with the new file"
    return [Problem(path=path, message=message) for path, before, after in pairs if before != after]
