"""Lets a plugin's services start and stop in virtual time, and says which of them misbehave."""

from __future__ import annotations

from collections.abc import Callable

import trio
import trio.testing

from appliance.config import Config
from appliance.errors import ApplianceError
from appliance.testing.harness import run_service
from appliance.testing.reporting import single_failure

START_MAX_S = 120.0
"""In virtual time. A service that is not ready by then waits for something that will never come."""

LAST_WORDS_S = 0.5
"""What a cancelled service may still do, bounded by itself."""


def start_and_stop(plugin: Callable[[], object], config: Config) -> list[str]:
    """Run the services of a plugin once; what is wrong, as sentences."""
    problems: list[str] = []

    async def main() -> None:
        scope = trio.CancelScope(deadline=trio.current_time() + START_MAX_S)
        try:
            # Outside the scope: what it cancels is taken out of a group before the group is looked at.
            with single_failure(), scope:
                await _live(plugin, config, problems)
        except (ApplianceError, AssertionError) as error:
            problems.append(f"its services do not run: {error}")
        if scope.cancelled_caught:
            problems.append(f"its services neither start nor stop within {START_MAX_S:g} s")

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return problems


async def _live(plugin: Callable[[], object], config: Config, problems: list[str]) -> None:
    tables = dict(config.tables)
    own = _own_table(plugin)
    values = tables.pop(own) if own else None
    async with run_service(plugin, config=values, tables=tables) as node:
        await node.settled()
        graces_s = [entry.service.grace_s for entry in node.plugins.services(node.config, node.node)]
        began = trio.current_time()
        await node.supervisor.stop("conformance")
        # Services that need each other stop one after the other.
        if trio.current_time() - began > sum(graces_s) + LAST_WORDS_S:
            problems.append(
                "a service does not stop within its grace: watch Context.stopping, and bound what stands in a"
                " `finally` with trio.move_on_after(…, shield=True)"
            )


def _own_table(plugin: Callable[[], object]) -> str | None:
    hook = getattr(plugin(), "appliance_config", None)
    return str(hook().name) if hook is not None else None
