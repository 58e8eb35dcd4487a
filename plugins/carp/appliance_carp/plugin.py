"""The carp plugin: what it contributes to an appliance, and no logic."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.config import Config
from appliance.errors import Problem
from appliance.events import Event, Reclaim, Request, SetEnabled, SetMaintenance, Switchover
from appliance.plugin import (
    Check,
    Command,
    ConfigTable,
    CrashPolicy,
    ImagePart,
    Isolation,
    Service,
    SyncSection,
    hookimpl,
)
from appliance_carp import checks, commands, events, service, sync, verify
from appliance_carp.config import CarpConfig, settings_of

REALTIME_PRIORITY = 50
"""The middle of the real-time range, where keepalived sits too: above all ordinary work, below the kernel's own."""


class Carp:
    """Virtual addresses that move between nodes."""

    api = (1, 0)

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(name="carp", model=CarpConfig, summary="Virtual addresses that move between nodes.")

    @hookimpl
    def appliance_verify(self, config: Config) -> list[Problem]:
        return verify.verify(config)

    @hookimpl
    def appliance_services(self, config: Config) -> list[Service]:
        settings = settings_of(config)
        return [
            Service(
                key="heartbeat",
                run=service.run,
                config=settings,
                on_crash=CrashPolicy.RESTART,
                grace_s=1.0,
                needs=frozenset({"interfaces"}),
                # A node that has not its peers' states yet has to be demoted before it wants to be MASTER.
                after=frozenset({"states", "ruleset", "dhcp"}),
                provides=frozenset({"roles"}),
                isolation=Isolation(
                    realtime_priority=REALTIME_PRIORITY if settings.realtime else None,
                    lock_memory=settings.realtime,
                    freeze_gc=True,
                ),
            )
        ]

    @hookimpl
    def appliance_events(self) -> Sequence[type[Event] | type[Request[object]]]:
        return [
            events.CommitStaged,
            events.GetCarp,
            events.GetReach,
            Reclaim,
            SetEnabled,
            SetMaintenance,
            Switchover,
        ]

    @hookimpl
    def appliance_commands(self) -> Sequence[Command]:
        return commands.COMMANDS

    @hookimpl
    def appliance_checks(self, config: Config) -> list[Check]:
        return checks.checks(config)

    @hookimpl
    def appliance_sync_sections(self) -> Sequence[SyncSection]:
        return sync.SECTIONS

    @hookimpl
    def appliance_image(self) -> ImagePart:
        return ImagePart(packages=("nftables",), kernel_modules=("macvlan", "nf_tables"))
