"""Interfaces for people and programs: the events and the answer of ``show interfaces``. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from appliance.events import AddressesChanged, Health, LinkChanged, Status
from appliance.net.rtfacts import LinkInfo
from appliance_interfaces.plan import Actual, Trouble
from appliance_interfaces.settings import Cidr, Settings, WantedInterface, WantedRoute


def link_changed(name: str, device: str, link: LinkInfo | None) -> LinkChanged:
    """The state of a link as an event."""
    if link is None:
        return LinkChanged(interface=name, device=device, present=False, up=False)
    return LinkChanged(interface=name, device=device, present=True, up=link.carrier, mac=link.mac, mtu=link.mtu)


def _order(address: Cidr) -> tuple[int, int, int]:
    return address.version, int(address.ip), address.network.prefixlen


def addresses_changed(wanted: WantedInterface, actual: Actual) -> AddressesChanged:
    """The configured addresses that are in the kernel, as an event."""
    there = sorted(actual.on(wanted.device).keys() & set(wanted.addresses), key=_order)
    return AddressesChanged(interface=wanted.name, device=wanted.device, addresses=tuple(str(a) for a in there))


def status(settings: Settings, actual: Actual, troubles: Iterable[Trouble]) -> Status:
    """One line about all of them."""
    wrong = [trouble.what for trouble in troubles]
    if wrong:
        return Status(health=Health.FAIL, summary="; ".join(wrong))
    links = ((wanted.name, actual.links.get(wanted.device)) for wanted in settings.interfaces)
    quiet = [name for name, link in links if link is not None and not link.carrier]
    if quiet:
        return Status(health=Health.WARN, summary=f"no link: {', '.join(quiet)}")
    names = ", ".join(wanted.name for wanted in settings.interfaces) or "none configured"
    return Status(health=Health.OK, summary=f"up: {names}")


def document(settings: Settings, actual: Actual, troubles: Iterable[Trouble]) -> dict[str, Any]:
    """What ``show interfaces --json`` prints."""
    by_name: dict[str, list[Trouble]] = {}
    for trouble in troubles:
        by_name.setdefault(trouble.interface, []).append(trouble)
    return {"interfaces": [_interface(wanted, actual, by_name.get(wanted.name, [])) for wanted in settings.interfaces]}


def _interface(wanted: WantedInterface, actual: Actual, troubles: list[Trouble]) -> dict[str, Any]:
    link = actual.links.get(wanted.device)
    present = actual.on(wanted.device)
    every = sorted({*wanted.addresses, *present}, key=_order)
    return {
        "name": wanted.name,
        "device": wanted.device,
        "description": wanted.description,
        "present": link is not None,
        "up": link is not None and link.up,
        "carrier": link is not None and link.carrier,
        "mac": link.mac if link else "",
        "mtu": link.mtu if link else None,
        "vlan": {"parent": wanted.vlan.parent, "id": wanted.vlan.id} if wanted.vlan else None,
        "addresses": [
            {"address": str(address), "configured": address in wanted.addresses, "present": address in present}
            for address in every
        ],
        "routes": [_route(route, link, actual) for route in wanted.routes],
        "problems": [{"what": trouble.what, "fix": trouble.fix} for trouble in troubles],
    }


def _route(wanted: WantedRoute, link: LinkInfo | None, actual: Actual) -> dict[str, Any]:
    key = (wanted.to, wanted.via, wanted.metric, link.index if link else None)
    there = any((route.to, route.via, route.metric, route.index) == key for route in actual.routes)
    to = "default" if wanted.to.prefixlen == 0 else str(wanted.to)
    via = str(wanted.via) if wanted.via is not None else None
    return {"to": to, "via": via, "metric": wanted.metric, "present": there}
