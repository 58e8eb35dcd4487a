"""The dhcp-failover plugin: what it contributes to an appliance, and no logic."""

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
from appliance_dhcp_failover import checks, commands, events, sync, verify
from appliance_dhcp_failover.config import DhcpFailoverConfig, settings_of

SUMMARY = "Addresses for clients, whoever is MASTER; every lease is on all nodes."


class DhcpFailover:
    """DHCP by Kea, with one memory for all nodes."""

    api = (1, 0)

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(name="dhcp_failover", model=DhcpFailoverConfig, summary=SUMMARY)

    @hookimpl
    def appliance_verify(self, config: Config) -> list[Problem]:
        return verify.verify(config)

    @hookimpl
    def appliance_services(self, config: Config) -> list[Service]:
        # Imported here: the command line needs neither TLS nor HTTP.
        from appliance_dhcp_failover import service

        return [
            Service(
                key="server",
                run=service.run,
                config=settings_of(config),
                on_crash=CrashPolicy.DEMOTE,
                grace_s=3.0,
                needs=frozenset({"interfaces"}),
                after=frozenset({"keys", "ruleset"}),
                provides=frozenset({"dhcp"}),
                isolation=Isolation(freeze_gc=True),
            )
        ]

    @hookimpl
    def appliance_events(self) -> Sequence[type[Event] | type[Request[object]]]:
        return [
            events.LeaseGranted,
            events.LeaseReleased,
            events.PoolChanged,
            events.GetDhcp,
            events.FindLeases,
            events.ReleaseLease,
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
        return ImagePart(packages=("kea-dhcp4-server", "kea-common"), kernel_modules=("af_packet", "macvlan"))
