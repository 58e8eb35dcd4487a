"""The pfsync plugin: what it contributes to an appliance, and no logic."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.config import Config
from appliance.errors import Problem
from appliance.events import Event, Request
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
from appliance_pfsync import checks, commands, events, service, sync, verify
from appliance_pfsync.config import PfsyncConfig, settings_of


class Pfsync:
    """Every connection state on every node, before it is needed."""

    api = (1, 0)

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(
            name="pfsync",
            model=PfsyncConfig,
            summary="Every connection state on every node, before it is needed.",
        )

    @hookimpl
    def appliance_verify(self, config: Config) -> list[Problem]:
        return verify.verify(config)

    @hookimpl
    def appliance_services(self, config: Config) -> list[Service]:
        settings = settings_of(config)
        return [
            Service(
                key="replicator",
                run=service.run,
                config=settings,
                on_crash=CrashPolicy.RESTART,
                grace_s=1.0,
                needs=frozenset({"interfaces"}),
                after=frozenset({"keys"} if settings.is_paired else ()),
                provides=frozenset({"states"}),
                isolation=Isolation(freeze_gc=True),
            )
        ]

    @hookimpl
    def appliance_events(self) -> Sequence[type[Event] | type[Request[object]]]:
        return [
            events.GetPfsync,
            events.ResyncStates,
            events.FlushStates,
            events.GetStates,
            events.CountStates,
            events.KillStates,
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
        return ImagePart(
            packages=("nftables", "conntrack", "libstdc++6"),  # the last for the wheel of numpy
            kernel_modules=("nf_conntrack_netlink", "nf_nat", "nfnetlink_queue", "nft_queue"),
            sysctls={"net.netfilter.nf_conntrack_tcp_be_liberal": "1", "net.netfilter.nf_conntrack_tcp_loose": "1"},
        )
