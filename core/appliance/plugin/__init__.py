"""PUBLIC. Everything the author of a plugin needs; the page to read first.

A plugin is a class with an ``api`` version and hook implementations. The host makes one instance per
appliance, so two nodes can live in one process: never keep state at module level.
"""

from typing import TYPE_CHECKING

from appliance.plugin.asking import ask as ask
from appliance.plugin.asking import ask_if_running as ask_if_running
from appliance.plugin.context import Context as Context
from appliance.plugin.context import Lagged as Lagged
from appliance.plugin.context import Logger as Logger
from appliance.plugin.context import Metrics as Metrics
from appliance.plugin.context import NoProvider as NoProvider
from appliance.plugin.context import Overflow as Overflow
from appliance.plugin.context import ProviderFailed as ProviderFailed
from appliance.plugin.context import Started as Started
from appliance.plugin.context import Subscription as Subscription
from appliance.plugin.contributions import Argument as Argument
from appliance.plugin.contributions import Check as Check
from appliance.plugin.contributions import Command as Command
from appliance.plugin.contributions import CommandContext as CommandContext
from appliance.plugin.contributions import ConfigTable as ConfigTable
from appliance.plugin.contributions import CrashPolicy as CrashPolicy
from appliance.plugin.contributions import Finding as Finding
from appliance.plugin.contributions import ImagePart as ImagePart
from appliance.plugin.contributions import Isolation as Isolation
from appliance.plugin.contributions import KernelNeed as KernelNeed
from appliance.plugin.contributions import Migration as Migration
from appliance.plugin.contributions import Mirror as Mirror
from appliance.plugin.contributions import Probe as Probe
from appliance.plugin.contributions import Service as Service
from appliance.plugin.contributions import SyncSection as SyncSection
from appliance.plugin.contributions import Where as Where
from appliance.plugin.node import Node as Node
from appliance.plugin.ruleset import Chain as Chain
from appliance.plugin.ruleset import Fragment as Fragment
from appliance.plugin.ruleset import Hook as Hook
from appliance.plugin.ruleset import Hooked as Hooked
from appliance.plugin.ruleset import Rule as Rule
from appliance.plugin.ruleset import Set as Set
from appliance.plugin.ruleset import Stage as Stage
from appliance.plugin.version import API as API

if TYPE_CHECKING:
    from appliance.plugin.hookspecs import hookimpl as hookimpl
else:

    def __getattr__(name: str) -> object:
        """Import pluggy only for those who mark hooks; isolated services start without it."""
        if name == "hookimpl":
            from appliance.plugin.hookspecs import hookimpl

            return hookimpl
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
