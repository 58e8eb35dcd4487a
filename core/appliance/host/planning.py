"""Which services a configuration needs: those of its plugins, and the one that keeps their rules in the kernel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from appliance.config.model import Config, Model
from appliance.errors import PluginError
from appliance.host import ruleset
from appliance.host.alarms import SOURCE
from appliance.host.plugins import PluginFailure, PluginService
from appliance.net.ruleset import Composer

if TYPE_CHECKING:
    from appliance.host.plugins import Plugins
    from appliance.plugin import Logger, Node

PLAN_HOOKS = ("appliance_services", "appliance_ruleset")
DISTRIBUTION = "ha-appliance"


class Planner:
    """Plans one configuration after the other; what stays the same is not made again.

    Args:
        plugins: All plugins.
        node: This node.
        log: For what is left out.
    """

    def __init__(self, plugins: Plugins, node: Node, log: Logger) -> None:
        self._plugins, self._node, self._log = plugins, node, log
        self._composer = Composer()

    def plan(self, config: Config, models: Mapping[str, type[Model]], *, strict: bool) -> tuple[PluginService, ...]:
        """The services of a configuration.

        Args:
            config: The configuration; its plugins are the enabled ones.
            models: Of all tables by name.
            strict: A plugin that fails to name its own refuses the configuration.

        Raises:
            PluginError: Strict, and one failed, or rules of several do not fit together.
        """
        wanted = tuple(self._plugins.services(config, self._node))
        fragments = self._plugins.fragments(config)
        failures = [failure for failure in self._plugins.failures if failure.hook in PLAN_HOOKS]
        if failures and strict:
            raise PluginError(
                "; ".join(str(failure) for failure in failures),
                hint="Nothing has been changed. Report it to the author of the plugin.",
            )
        closed = None if strict else self._why_closed(failures)
        try:
            keeper = ruleset.service(config, fragments, models, closed=closed, composer=self._composer)
        except PluginError as error:
            if strict:
                raise
            self._log.error("ruleset_refused", error=error.message)
            keeper = ruleset.service(config, [], models, closed=error.message)
        if keeper is None:
            return wanted
        return (PluginService(plugin=SOURCE, distribution=DISTRIBUTION, service=keeper), *wanted)

    def _why_closed(self, failures: list[PluginFailure]) -> str | None:
        """Why the rules of a node that starts are not all that its file asks for."""
        refused = self._plugins.refused_with("appliance_ruleset")
        if refused:
            return f"the configuration of {', '.join(refused)} was refused"
        broken = [failure for failure in failures if failure.hook == "appliance_ruleset"]
        return str(broken[0]) if broken else None
