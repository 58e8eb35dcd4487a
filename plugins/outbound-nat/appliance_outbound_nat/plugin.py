"""The outbound-nat plugin: what it contributes to an appliance, and no logic."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.config import Config
from appliance.errors import Problem
from appliance.events import Event, Request
from appliance.plugin import Check, Command, ConfigTable, Fragment, ImagePart, Service, SyncSection, hookimpl
from appliance_outbound_nat import checks, commands, events, listing, ruleset, service, sync, verify
from appliance_outbound_nat.config import OutboundNatConfig

SUMMARY = "Translation of addresses: outbound by the virtual host, one to one, and by port."


class OutboundNat:
    """Translation that survives a takeover."""

    api = (1, 0)

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(name="outbound_nat", model=OutboundNatConfig, summary=SUMMARY)

    @hookimpl
    def appliance_verify(self, config: Config) -> list[Problem]:
        return verify.verify(config)

    @hookimpl
    def appliance_ruleset(self, config: Config) -> Fragment:
        return ruleset.fragment(config)

    @hookimpl
    def appliance_services(self, config: Config) -> list[Service]:
        return [Service(key="nat", run=service.run, config=listing.settings_of(config))]

    @hookimpl
    def appliance_events(self) -> Sequence[type[Event] | type[Request[object]]]:
        return [events.GetNat]

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
        modules = ("nft_chain_nat", "nft_nat", "nft_masq", "nft_fib_inet")
        return ImagePart(packages=("nftables",), kernel_modules=modules)
