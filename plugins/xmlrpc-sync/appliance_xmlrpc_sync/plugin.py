"""The xmlrpc-sync plugin: what it contributes to an appliance, and no logic."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.config import Config
from appliance.errors import Problem
from appliance.events import Event, Request
from appliance.plugin import Check, Command, ConfigTable, Service, hookimpl
from appliance_xmlrpc_sync import checks, commands, events, guard, listener, pairing, requests, sender, verify
from appliance_xmlrpc_sync.config import XmlrpcSyncConfig, listener_settings, sender_settings

SUMMARY = "The shared configuration of the primary, verified, on all nodes."


class XmlrpcSync:
    """One configuration for all nodes."""

    api = (1, 0)

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(name="xmlrpc_sync", model=XmlrpcSyncConfig, summary=SUMMARY)

    @hookimpl
    def appliance_verify(self, config: Config, old: Config | None) -> list[Problem]:
        return [*verify.verify(config), *guard.cuts(config, old)]

    @hookimpl
    def appliance_services(self, config: Config) -> list[Service]:
        return [
            Service(
                key="listener",
                run=listener.run,
                config=listener_settings(config),
                after=frozenset({"interfaces"}),
                provides=frozenset({"keys"}),
            ),
            Service(
                key="sender",
                run=sender.run,
                config=sender_settings(config),
                after=frozenset({"interfaces"}),
            ),
        ]

    @hookimpl
    def appliance_events(self) -> Sequence[type[Event] | type[Request[object]]]:
        return [
            events.PeersPaired,
            events.SectionsReceived,
            events.OpenPairing,
            events.AwaitPairing,
            events.PairWith,
            events.GetPeers,
            events.RemovePeer,
            events.ResetIdentity,
            events.RotatePairing,
            events.GetReceived,
            *requests.REQUESTS,
        ]

    @hookimpl
    def appliance_commands(self) -> Sequence[Command]:
        return (*pairing.COMMANDS, *commands.COMMANDS)

    @hookimpl
    def appliance_checks(self, config: Config) -> list[Check]:
        return checks.checks(config)
