"""The plugin itself: hook implementations and nothing else."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from ipaddress import IPv4Interface

from appliance.config import Config, ProvidesInterfaces
from appliance.errors import Problem
from appliance.events import Event, Request
from appliance.plugin import Check, Command, ConfigTable, ImagePart, Node, Service, hookimpl
from appliance_hello.checks import AUDIENCE
from appliance_hello.commands import SHOW_HELLO
from appliance_hello.config import HelloConfig
from appliance_hello.events import Greeted, GreetingHeard
from appliance_hello.link import LinkSettings, OpenLink, open_udp
from appliance_hello.service import greet, share


class Hello:
    """Greets new masters. One instance per appliance; state would live here, never in a module."""

    api = (1, 0)

    def __init__(self, open_link: OpenLink = open_udp) -> None:
        self._open_link = open_link

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(name="hello", model=HelloConfig, summary="Greets new masters.")

    @hookimpl
    def appliance_verify(self, config: Config) -> list[Problem]:
        name = config[HelloConfig].share_on
        if name is None or _network(config, name) is not None:
            return []
        message = f"{name!r} is no logical interface with an IPv4 address, so greetings cannot be broadcast on it"
        return [Problem(path=("hello", "share_on"), message=message)]

    @hookimpl
    def appliance_services(self, config: Config, node: Node) -> list[Service]:
        table = config[HelloConfig]
        services = [Service(key="greeter", run=greet, config=table)]
        network = _network(config, table.share_on) if table.share_on else None
        if network is not None:
            broadcast = str(network.network.broadcast_address)
            settings = LinkSettings(node=node.name, broadcast=broadcast, port=table.port)
            run = functools.partial(share, open_link=self._open_link)
            services.append(Service(key="sharer", run=run, config=settings, needs=frozenset({"interfaces"})))
        return services

    @hookimpl
    def appliance_events(self) -> Sequence[type[Event] | type[Request[object]]]:
        return (Greeted, GreetingHeard)

    @hookimpl
    def appliance_commands(self) -> Sequence[Command]:
        return (SHOW_HELLO,)

    @hookimpl
    def appliance_checks(self) -> Sequence[Check]:
        return (AUDIENCE,)

    @hookimpl
    def appliance_image(self) -> ImagePart:
        return ImagePart()  # pure Python: an image needs nothing besides the package


def _network(config: Config, name: str) -> IPv4Interface | None:
    """The first IPv4 address of a logical interface, whichever plugin declares interfaces."""
    provider = config.providing(ProvidesInterfaces)
    interface = provider.logical_interfaces().get(name) if provider else None
    addresses = interface.addresses if interface else ()
    return next((address for address in addresses if isinstance(address, IPv4Interface)), None)
