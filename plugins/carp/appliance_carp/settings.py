"""What the carp service is told: plain frozen values, picklable and cheap to compare.

The service runs in a process of its own, so nothing here may pull in pydantic. `config.py` turns the
validated table into these.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network, ip_interface
from typing import Literal

from appliance_carp.hello import fingerprint
from appliance_carp.transaction import Edition
from appliance_carp.vocabulary import VhidKey

Cidr = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network

VIRTUAL_MAC_PREFIX = "00:00:5e:00:01"
"""CARP and VRRP for IPv4; CARP uses it for IPv6 as well (FreeBSD, OpenBSD ip_carp.c)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VipSettings:
    """One virtual host: a VHID on an interface and everything it carries."""

    name: str
    interface: str
    vhid: int
    addresses: tuple[IPv4Interface | IPv6Interface, ...]
    aliases: tuple[IPv4Interface | IPv6Interface, ...] = ()
    """IP aliases stacked on it: follow it and are hashed with it, send no heartbeat of their own."""
    password: str = field(repr=False)
    advbase: int
    """Seconds; 0 is our sub-second extension (OpenBSD's meaning: the interval is advskew/256 s)."""
    advskew: int
    """1/256 seconds, as configured (demotion is added by the election)."""
    dead_ratio: int = 3
    fast: bool = False
    """Send sub-second adverts when every peer speaks them."""
    peers: tuple[IPv4Address | IPv6Address, ...] = ()
    """Unicast peers; empty means multicast."""
    own_networks: tuple[Network, ...] = ()
    """Networks in which the interface has an address of its own."""
    placed: tuple[Cidr, ...] = field(init=False)
    """Every address with the prefix length that it gets in the kernel."""

    def __post_init__(self) -> None:
        placed = tuple(place(each, self.own_networks) for each in (*self.addresses, *self.aliases))
        object.__setattr__(self, "placed", placed)

    @property
    def key(self) -> VhidKey:
        """Logical interface and VHID."""
        return (self.interface, self.vhid)

    @property
    def mac(self) -> str:
        """The virtual MAC."""
        return virtual_mac(self.vhid)

    @property
    def all_addresses(self) -> tuple[IPv4Address | IPv6Address, ...]:
        """Every address that moves with the VHID, without prefix."""
        return tuple(each.ip for each in (*self.addresses, *self.aliases))

    @property
    def families(self) -> frozenset[int]:
        """IP versions that send heartbeats."""
        return frozenset(each.version for each in self.addresses)

    @property
    def fingerprint(self) -> bytes:
        """Eight bytes that are equal on two nodes exactly when the digests of their adverts are."""
        return fingerprint(self.all_addresses, self.password, self.vhid)

    @property
    def edition(self) -> Edition:
        """What the other nodes have to have, too."""
        return Edition(self.vhid, self.fingerprint)

    def with_digest_of(self, other: VipSettings) -> VipSettings:
        """These settings with everything that the digest covers taken from `other`."""
        return replace(self, vhid=other.vhid, password=other.password, addresses=other.addresses, aliases=other.aliases)


def virtual_mac(vhid: int) -> str:
    """The MAC address of a VHID."""
    return f"{VIRTUAL_MAC_PREFIX}:{vhid:02x}"


def place(address: Cidr, own_networks: Iterable[Network]) -> Cidr:
    """A virtual address as the kernel gets it.

    As a host, so that it brings no second connected route to a network that the interface reaches by itself.
    Where it is the only address of its network (an alias of a further subnet, an interface without addresses of
    its own) it brings the route along. Link-local addresses keep their /64: without that route the kernel does
    not answer for them.
    """
    if address.version == 6 and address.ip.is_link_local:
        return ip_interface(f"{address.ip}/64")
    if any(address.ip in network for network in own_networks):
        return ip_interface(address.ip)
    return address


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSettings:
    """One parent interface on which virtual hosts live, or the sync interface."""

    interface: str
    device: str
    addresses: tuple[IPv4Interface | IPv6Interface, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CarpSettings:
    """Everything the service needs."""

    node: str
    vips: tuple[VipSettings, ...]
    ports: tuple[PortSettings, ...]
    sync: PortSettings | None = None
    password: str = field(repr=False)
    """Authenticates the messages between our own nodes."""
    preempt: bool = True
    preempt_delay_s: float = 0.0
    profile: Literal["book", "fast", "custom"] = "book"
    hello: Literal["all", "sync"] = "all"
    on_absent_peer: Literal["wait", "force"] = "wait"
    realtime: bool = True

    def vip(self, key: VhidKey) -> VipSettings | None:
        """The virtual host of this key."""
        return next((vip for vip in self.vips if vip.key == key), None)
