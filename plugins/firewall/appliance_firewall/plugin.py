"""The firewall plugin: what it contributes to an appliance, and no logic."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.config import Config
from appliance.errors import Problem
from appliance.events import Event, Request
from appliance.plugin import Check, Command, ConfigTable, Fragment, ImagePart, Service, SyncSection, hookimpl
from appliance_firewall import checks, commands, events, needs, sync, verify
from appliance_firewall.compile import Compiler
from appliance_firewall.config import FirewallConfig
from appliance_firewall.reading import Memory
from appliance_firewall.settings import settings_of


class Firewall:
    """Stateful filter rules, aliases, and what passes by itself."""

    api = (1, 0)

    def __init__(self) -> None:
        self._memory, self._compiler = Memory(), Compiler()

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(name="firewall", model=FirewallConfig, summary="What may pass, and what it is called.")

    @hookimpl
    def appliance_verify(self, config: Config, old: Config | None) -> list[Problem]:
        reading = self._memory.reading(config)
        return [*verify.verify(config, reading), *needs.cuts(config, reading, old)]

    @hookimpl
    def appliance_ruleset(self, config: Config) -> Fragment:
        return self._compiler.fragment(config, self._memory.reading(config))

    @hookimpl
    def appliance_services(self, config: Config) -> list[Service]:
        # Imported here: they bring netlink, which the command line does not need.
        from appliance_firewall import clock, service

        schedules = tuple(config[FirewallConfig].schedules().values())
        settings = settings_of(config, self._memory.reading(config))
        made = [Service(key="log", run=service.run, config=settings, after=frozenset({"ruleset"}))]
        if schedules:
            times = clock.ClockSettings(schedules)
            made.append(Service(key="clock", run=clock.run, config=times, after=frozenset({"ruleset"})))
        return made

    @hookimpl
    def appliance_events(self) -> Sequence[type[Event] | type[Request[object]]]:
        return [events.GetAliases, events.GetFirewall, events.GetFirewallLog, events.PacketBlocked]

    @hookimpl
    def appliance_commands(self) -> Sequence[Command]:
        return commands.COMMANDS

    @hookimpl
    def appliance_checks(self, config: Config) -> list[Check]:
        return checks.checks(config, self._memory.reading)

    @hookimpl
    def appliance_sync_sections(self) -> Sequence[SyncSection]:
        return sync.SECTIONS

    @hookimpl
    def appliance_image(self) -> ImagePart:
        return ImagePart(
            packages=("nftables",),
            kernel_modules=("nf_tables", "nft_ct", "nft_log", "nft_reject_inet", "nft_fib_inet", "nfnetlink_log"),
        )
