"""The gateways plugin: what it contributes to an appliance, and no logic."""

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
    Fragment,
    ImagePart,
    Service,
    SyncSection,
    hookimpl,
)
from appliance_gateways import checks, commands, events, ruleset, verify
from appliance_gateways.config import GatewaysConfig, settings_of


class Gateways:
    """Monitored routers on the WANs, groups that balance between them, and routing by policy."""

    api = (1, 0)

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(
            name="gateways",
            model=GatewaysConfig,
            summary="Monitored routers on the WANs, groups that balance between them, and routing by policy.",
        )

    @hookimpl
    def appliance_verify(self, config: Config) -> list[Problem]:
        return verify.verify(config)

    @hookimpl
    def appliance_ruleset(self, config: Config) -> Fragment:
        return ruleset.fragment(config)

    @hookimpl
    def appliance_services(self, config: Config) -> list[Service]:
        # Imported here: the command line needs neither netlink nor sockets.
        from appliance_gateways import service

        return [
            Service(
                key="monitor",
                run=service.run,
                config=settings_of(config),
                on_crash=CrashPolicy.RESTART,
                needs=frozenset({"interfaces"}),
                after=frozenset({"ruleset"}),
                provides=frozenset({"gateways"}),
            )
        ]

    @hookimpl
    def appliance_events(self) -> Sequence[type[Event] | type[Request[object]]]:
        return [events.GatewayChanged, events.GetGateways]

    @hookimpl
    def appliance_commands(self) -> Sequence[Command]:
        return commands.COMMANDS

    @hookimpl
    def appliance_checks(self, config: Config) -> list[Check]:
        return checks.checks(config)

    @hookimpl
    def appliance_sync_sections(self) -> Sequence[SyncSection]:
        return [SyncSection(name="gateways", keys=(("gateways",),))]

    @hookimpl
    def appliance_image(self) -> ImagePart:
        return ImagePart(packages=("iproute2", "nftables"), kernel_modules=("nft_hash", "nft_fib_inet", "nf_conntrack"))
