"""Every hook a plugin may implement, and all of them are optional.

Hooks declare; services live. A hook is synchronous, pure, fast and may be called again at any time; it
returns frozen data and never opens, waits for or remembers anything. An implementation names only the
arguments it wants.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pluggy

from appliance.errors import Problem
from appliance.events import Event, Request
from appliance.plugin.contributions import (
    Check,
    Command,
    ConfigTable,
    ImagePart,
    KernelNeed,
    Migration,
    Service,
    SyncSection,
)
from appliance.plugin.node import Node
from appliance.plugin.ruleset import Fragment

if TYPE_CHECKING:
    from appliance.config import Config

PROJECT = "appliance"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def appliance_config() -> ConfigTable:  # type: ignore[empty-body]
    """Declare the plugin's table in `appliance.toml`.

    Asked when a file is loaded, and by the documentation. The plugin is enabled by the presence of the
    table. A plugin without a table is always enabled.

    Returns:
        The table's name, its pydantic model and one sentence for people.
    """


@hookspec
def appliance_verify(config: Config, old: Config | None) -> Sequence[Problem]:  # type: ignore[empty-body]
    """Find what is wrong with a configuration that is valid table by table.

    Asked by `check` and before every commit; must not look at the system.

    Args:
        config: The whole candidate configuration.
        old: The one in force, or ``None`` at start and for `check`.

    Returns:
        Problems; each with the path of the offending key.
    """


@hookspec
def appliance_kernel(config: Config) -> Sequence[KernelNeed]:  # type: ignore[empty-body]
    """Say what the kernel has to be able to do for a configuration.

    Asked by `check` and before every commit, which then try it, where nothing can break, and refuse a
    configuration that could not work here. A process that may not try warns.

    Args:
        config: The whole candidate configuration.

    Returns:
        Kinds of devices; none that this configuration does not need.
    """


@hookspec
def appliance_migrations() -> Sequence[Migration]:  # type: ignore[empty-body]
    """Say how the plugin's table of an older format becomes the current one.

    The format of a table is 1 until a migration leads further; ``[node] formats`` of a file says which it is in. The
    data given to `migrate` are what TOML says, not a model. A step leads from one format to a higher one.

    Asked before a configuration is read: when a node starts, by `check`, and for every change.
    """


@hookspec
def appliance_services(config: Config, node: Node) -> Sequence[Service]:  # type: ignore[empty-body]
    """Say what has to run.

    Asked when the appliance starts and again for every commit. Must not open anything: a service opens
    its sockets when it runs.

    Args:
        config: The whole validated configuration; ``config[CarpConfig]`` is the plugin's own table.
        node: Identity of this node.

    Returns:
        Services; those whose ``key`` and ``config`` are unchanged keep running undisturbed.
    """


@hookspec
def appliance_ruleset(config: Config) -> Fragment:  # type: ignore[empty-body]
    """Contribute to the one nftables table of the node.

    Asked when the appliance starts, for every commit, and by `check`. The core composes all fragments and loads
    them in one transaction; see `appliance.plugin.ruleset`.

    Args:
        config: The whole validated configuration.

    Returns:
        Rules, chains, sets and counters.
    """


@hookspec
def appliance_events() -> Sequence[type[Event] | type[Request[object]]]:  # type: ignore[empty-body]
    """Name the event and request classes the plugin owns, for documentation and filters."""


@hookspec
def appliance_commands() -> Sequence[Command]:  # type: ignore[empty-body]
    """Add commands to the console and the command line.

    Asked once when the node starts, and by the command line for local commands.
    """


@hookspec
def appliance_checks(config: Config) -> Sequence[Check]:  # type: ignore[empty-body]
    """Add checks to `appliance doctor`; each runs under its own deadline."""


@hookspec
def appliance_sync_sections() -> Sequence[SyncSection]:  # type: ignore[empty-body]
    """Say which tables travel to the other nodes and how they change on the way."""


@hookspec
def appliance_image(flavor: str) -> ImagePart:  # type: ignore[empty-body]
    """Say what the plugin needs in a bootable image of this flavor."""
