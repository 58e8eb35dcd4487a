"""A table whose interface has a virtual address only."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_interface

from appliance.config import LogicalInterface, Model, VirtualHost


class VipOnly(Model):
    """Interface ``bare`` on the device ``wan``, with VHID 200."""

    def logical_interfaces(self) -> Mapping[str, LogicalInterface]:
        """`ProvidesInterfaces`."""
        return {"bare": LogicalInterface(name="bare", device="wan")}

    def virtual_hosts(self) -> Mapping[str, VirtualHost]:
        """`ProvidesVirtualHosts`."""
        address = ip_interface("198.51.100.201/24")
        return {"vip": VirtualHost(name="vip", interface="bare", vhid=200, addresses=(address,))}
