"""Facts about network interfaces, by logical name."""

from __future__ import annotations

from appliance.events.base import Event, event


@event(retain="interface")
class LinkChanged(Event):
    """The link of a logical interface changed, or is reported for the first time."""

    interface: str
    device: str
    present: bool
    """The device exists in the kernel."""
    up: bool
    """Administratively up and with carrier: frames can pass."""
    mac: str = ""
    mtu: int = 0


@event(retain="interface")
class AddressesChanged(Event):
    """The configured addresses of a logical interface are in the kernel (after apply or repair)."""

    interface: str
    device: str
    addresses: tuple[str, ...]
    """CIDR strings, IPv4 then IPv6, ascending."""
