"""What the pfsync service is told: plain frozen values, picklable and cheap to compare.

The service runs in a process of its own, so nothing here may pull in pydantic. `config.py` turns the
validated table into these.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

Version = Literal["native", "1301", "1400", "1500", "openbsd"]
BSD_VERSIONS: tuple[Version, ...] = ("1301", "1400", "1500", "openbsd")

MTU_MAX = 1500
"""Peers may have no more than Ethernet's usual MTU, whatever this device takes."""
GROUP_V4 = "224.0.0.240"
"""Where pfsync is sent without configured peers (pfsync(4))."""
GROUP_V6 = "ff12::f0"


@dataclass(frozen=True, slots=True, kw_only=True)
class PfsyncSettings:
    """Everything the service needs."""

    node: str
    interface: str
    """Logical name of the sync interface."""
    device: str
    family: Literal[4, 6]
    """Which IP carries the datagrams: that of the peers, else IPv4 when the interface has an IPv4 address."""
    peers: tuple[IPv4Address | IPv6Address, ...] = ()
    """Unicast destinations; empty means multicast."""
    version: Version = "native"
    key_file: str | None = None
    """File with the secrets of the cluster."""
    is_paired: bool = False
    """The secrets come from the pairing of the nodes. Neither this nor a `key_file`: datagrams are plain."""
    defer: bool = False
    maxupd: int = 128
    max_states: int | None = None
    bulk_timeout_s: float = 60.0
    audit_s: float = 30.0
    mtu: int = MTU_MAX
    """Bytes of the largest IP packet that is sent; less when the device takes less."""

    @property
    def is_secured(self) -> bool:
        """Whether datagrams are authenticated and encrypted."""
        return self.is_paired or self.key_file is not None

    @property
    def is_native(self) -> bool:
        """Whether it speaks the form of our own nodes, not one of BSD's."""
        return self.version == "native"

    @property
    def group(self) -> str:
        """The multicast group of `family`."""
        return GROUP_V4 if self.family == 4 else GROUP_V6

    @property
    def destinations(self) -> tuple[str, ...]:
        """Where a datagram to everybody goes."""
        return tuple(str(peer) for peer in self.peers) or (self.group,)
