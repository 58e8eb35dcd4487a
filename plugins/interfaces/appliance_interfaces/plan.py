"""What has to be done to the kernel's network so that it is as configured: wanted minus actual.

Pure. The plan is made anew from fresh facts until nothing is left to do, so no operation has to foresee
what the kernel does on its own (removing an address also removes routes, a new device has a new index).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_interface

from appliance.net.rtfacts import AddressInfo, LinkInfo, Route
from appliance_interfaces.settings import Cidr, Settings, WantedInterface

ROUTE_PROTOCOL = 73
"""Marks our routes in the kernel (RTPROT_*): free in iproute2's rt_protos and shown as ``proto 73``."""

_IFA_F_DADFAILED = 0x08


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateVlan:
    device: str
    parent_index: int
    vlan_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteVlan:
    device: str
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMtu:
    device: str
    index: int
    mtu: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUp:
    device: str
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AddAddress:
    device: str
    index: int
    address: Cidr


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveAddress:
    device: str
    index: int
    address: Cidr


@dataclass(frozen=True, slots=True, kw_only=True)
class AddRoute:
    device: str
    route: Route


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveRoute:
    device: str
    route: Route


Operation = CreateVlan | DeleteVlan | SetMtu | SetUp | AddAddress | RemoveAddress | AddRoute | RemoveRoute


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that keeps an interface from being as configured."""

    interface: str
    kind: str
    """``missing``, ``down``, ``vlan``, ``refused``: part of the alarm's key."""
    what: str
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Actual:
    """What the kernel has."""

    links: Mapping[str, LinkInfo] = field(default_factory=dict)
    """Devices by name."""
    addresses: Mapping[int, Mapping[Cidr, int]] = field(default_factory=dict)
    """Addresses with their flags by device index."""
    routes: frozenset[Route] = frozenset()
    """Our own routes."""

    @classmethod
    def of(cls, links: list[LinkInfo], addresses: list[AddressInfo], routes: list[Route]) -> Actual:
        """From what the kernel listed."""
        by_index: dict[int, dict[Cidr, int]] = {}
        for each in addresses:
            by_index.setdefault(each.index, {})[ip_interface((each.address, each.prefix_length))] = each.flags
        return cls(links={link.name: link for link in links}, addresses=by_index, routes=frozenset(routes))

    def on(self, device: str) -> Mapping[Cidr, int]:
        """Addresses of a device by name."""
        link = self.links.get(device)
        return self.addresses.get(link.index, {}) if link else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """What the appliance has put into the kernel, also in earlier lives; only that may be removed."""

    addresses: Mapping[str, frozenset[Cidr]] = field(default_factory=dict)
    """By device name."""
    vlans: frozenset[str] = frozenset()
    """Devices we made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do, in order, and what cannot be done."""

    operations: tuple[Operation, ...] = ()
    troubles: tuple[Trouble, ...] = ()


def make_plan(settings: Settings, actual: Actual, owned: Owned, seen_up: Mapping[str, int]) -> Plan:
    """Everything that differs.

    Args:
        settings: What is wanted.
        actual: What is.
        owned: What we may remove.
        seen_up: Index under which a device has been up since it appeared. A device that was up and is
            down now has been set down by somebody on purpose: that is told and left alone.
    """
    planner = _Planner(settings, actual, owned, seen_up)
    planner.unwanted()
    # A VLAN can only be made, and its MTU raised, once its parent is there.
    for wanted in sorted(settings.interfaces, key=lambda interface: interface.vlan is not None):
        planner.interface(wanted)
    planner.routes()
    return Plan(operations=tuple(planner.operations), troubles=tuple(planner.troubles))


def owned_after(settings: Settings, actual: Actual, owned: Owned) -> Owned:
    """What will be ours once the plan is carried out; remembered before anything is done.

    An address that is configured is ours from then on, whoever added it first.
    """
    addresses = {
        device: owned.addresses[device] & actual.on(device).keys()
        for device in owned.addresses
        if device in actual.links
    }
    vlans = owned.vlans & actual.links.keys()
    for wanted in settings.interfaces:
        if wanted.vlan is not None and wanted.device not in actual.links and wanted.vlan.parent in actual.links:
            vlans |= {wanted.device}
        if wanted.device in actual.links or wanted.device in vlans:
            addresses[wanted.device] = addresses.get(wanted.device, frozenset()) | frozenset(wanted.addresses)
    return Owned(addresses={device: found for device, found in addresses.items() if found}, vlans=vlans)


class _Planner:
    def __init__(self, settings: Settings, actual: Actual, owned: Owned, seen_up: Mapping[str, int]) -> None:
        self.settings, self.actual, self.owned, self.seen_up = settings, actual, owned, seen_up
        self.operations: list[Operation] = []
        self.troubles: list[Trouble] = []
        self._devices = {wanted.device for wanted in settings.interfaces}
        self._rising: set[str] = set()

    def unwanted(self) -> None:
        """What we made for interfaces that are no longer configured."""
        for device in sorted(self.owned.vlans - self._devices):
            link = self.actual.links.get(device)
            if link is not None and link.kind == "vlan":
                self.operations.append(DeleteVlan(device=device, index=link.index))
        for device in sorted(self.owned.addresses.keys() - self._devices - self.owned.vlans):
            link = self.actual.links.get(device)
            for address in sorted(self.owned.addresses[device] & self.actual.on(device).keys(), key=_order):
                assert link is not None
                self.operations.append(RemoveAddress(device=device, index=link.index, address=address))

    def interface(self, wanted: WantedInterface) -> None:
        """The device itself and its addresses."""
        link = self.actual.links.get(wanted.device)
        if wanted.vlan is not None:
            if not self._vlan(wanted, link):
                return
        elif link is None:
            self._missing(wanted, wanted.device)
        if link is None:
            return
        if wanted.mtu is not None and link.mtu != wanted.mtu:
            self.operations.append(SetMtu(device=wanted.device, index=link.index, mtu=wanted.mtu))
        self._raise(wanted, link)
        self._addresses(wanted, link)

    def _missing(self, wanted: WantedInterface, device: str) -> None:
        others = ", ".join(sorted(name for name in self.actual.links if name != "lo")[:10]) or "none"
        self._trouble(
            wanted,
            "missing",
            f"the device {device} of {wanted.name} does not exist",
            f"Plug it in, load its driver, or name another one in [interfaces.{wanted.name}]; there are: {others}.",
        )

    def _trouble(self, wanted: WantedInterface, kind: str, what: str, fix: str) -> None:
        self.troubles.append(Trouble(interface=wanted.name, kind=kind, what=what, fix=fix))

    def _vlan(self, wanted: WantedInterface, link: LinkInfo | None) -> bool:
        """Whether the device is there and is the right one."""
        vlan = wanted.vlan
        assert vlan is not None
        parent = self.actual.links.get(vlan.parent)
        if parent is None:
            self._missing(wanted, vlan.parent)
            return False
        if vlan.parent not in self._devices:
            self._raise(wanted, parent)
        if link is None:
            made = CreateVlan(device=wanted.device, parent_index=parent.index, vlan_id=vlan.id)
            self.operations.append(made)
            return False
        if (link.kind, link.parent_index, link.vlan_id) == ("vlan", parent.index, vlan.id):
            return True
        if wanted.device in self.owned.vlans:
            # Configured differently since: it is ours, and is made anew in the next round.
            self.operations.append(DeleteVlan(device=wanted.device, index=link.index))
            return False
        self._trouble(
            wanted,
            "vlan",
            f"{wanted.device} exists but is not VLAN {vlan.id} of {vlan.parent}",
            f"Remove it (`ip link delete {wanted.device}`) or give {wanted.name} another device name.",
        )
        return False

    def _raise(self, wanted: WantedInterface, link: LinkInfo) -> None:
        if link.up or link.name in self._rising:
            return
        if self.seen_up.get(link.name) == link.index:
            self._trouble(
                wanted,
                "down",
                f"{link.name} of {wanted.name} has been set down by hand",
                f"`ip link set {link.name} up` when you are done.",
            )
            return
        self._rising.add(link.name)
        self.operations.append(SetUp(device=link.name, index=link.index))

    def _addresses(self, wanted: WantedInterface, link: LinkInfo) -> None:
        present = self.actual.addresses.get(link.index, {})
        ours = self.owned.addresses.get(wanted.device, frozenset())
        wanted_ips = {address.ip for address in wanted.addresses}
        spoiled = {address for address, flags in present.items() if flags & _IFA_F_DADFAILED}
        first: list[Cidr] = []
        last: list[Cidr] = []
        for address in sorted(present, key=_order):
            if address in wanted.addresses:
                if address in spoiled:
                    first.append(address)
            elif address.ip in wanted_ips:
                first.append(address)  # right address, wrong prefix length: IPv6 refuses it twice
            elif address in ours or (wanted.remove_foreign and not address.ip.is_link_local):
                last.append(address)
        add = [address for address in wanted.addresses if address not in present or address in spoiled]
        device, index = wanted.device, link.index
        self.operations += [RemoveAddress(device=device, index=index, address=address) for address in first]
        self.operations += [AddAddress(device=device, index=index, address=address) for address in add]
        self.operations += [RemoveAddress(device=device, index=index, address=address) for address in last]

    def routes(self) -> None:
        """Static routes of all interfaces."""
        names = {link.index: link.name for link in self.actual.links.values()}
        wanted = {route: device for device, route in self._wanted_routes()}
        add = [route for route in wanted if route not in self.actual.routes]
        # Adding replaces the route to the same place with the same metric, without a gap.
        replaced = {(route.to, route.metric) for route in add}
        for route in sorted(self.actual.routes - wanted.keys(), key=str):
            if (route.to, route.metric) not in replaced:
                self.operations.append(RemoveRoute(device=names.get(route.index, "?"), route=route))
        self.operations += [AddRoute(device=wanted[route], route=route) for route in add]

    def _wanted_routes(self) -> Iterator[tuple[str, Route]]:
        for wanted in self.settings.interfaces:
            link = self.actual.links.get(wanted.device)
            # A device that is down has no routes: the kernel takes them away, and takes none.
            if link is None or not (link.up or link.name in self._rising):
                continue
            for route in wanted.routes:
                yield (
                    wanted.device,
                    Route(
                        to=route.to,
                        index=link.index,
                        via=route.via,
                        metric=route.metric,
                        protocol=ROUTE_PROTOCOL,
                        onlink=route.onlink,
                    ),
                )


def _order(address: Cidr) -> tuple[int, int, int]:
    return address.version, int(address.ip), address.network.prefixlen
