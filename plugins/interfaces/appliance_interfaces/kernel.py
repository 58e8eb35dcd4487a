"""Reads what the plan needs from the kernel, and carries out its operations."""

from __future__ import annotations

from typing import assert_never

from appliance.net.rtfacts import Route
from appliance.net.rtnl import Rtnl
from appliance_interfaces import plan as p


async def read(rtnl: Rtnl) -> p.Actual:
    """Devices, addresses and our own routes, as they are now."""
    return p.Actual.of(await rtnl.links(), await rtnl.addresses(), await rtnl.routes(protocol=p.ROUTE_PROTOCOL))


async def execute(rtnl: Rtnl, operation: p.Operation) -> None:
    """One operation.

    Raises:
        SystemCallError: The kernel refused it.
    """
    match operation:
        case p.CreateVlan(device=device, parent_index=parent, vlan_id=vlan_id):
            await rtnl.add_vlan(device, parent_index=parent, vlan_id=vlan_id)
        case p.DeleteVlan(index=index):
            await rtnl.delete_link(index)
        case p.SetMtu(index=index, mtu=mtu):
            await rtnl.set_link(index, mtu=mtu)
        case p.SetUp(index=index):
            await rtnl.set_link(index, up=True)
        case p.AddAddress(index=index, address=address):
            await rtnl.add_address(index, address)
        case p.RemoveAddress(index=index, address=address):
            await rtnl.delete_address(index, address)
        case p.AddRoute(route=route):
            await rtnl.add_route(route)
        case p.RemoveRoute(route=route):
            await rtnl.delete_route(route)
        case _:
            assert_never(operation)


def describe(operation: p.Operation) -> str:
    """For the log: ``add 192.0.2.1/24``."""
    match operation:
        case p.CreateVlan(vlan_id=vlan_id):
            return f"create VLAN {vlan_id}"
        case p.DeleteVlan():
            return "delete VLAN"
        case p.SetMtu(mtu=mtu):
            return f"set MTU {mtu}"
        case p.SetUp():
            return "set up"
        case p.AddAddress(address=address):
            return f"add {address}"
        case p.RemoveAddress(address=address):
            return f"remove {address}"
        case p.AddRoute(route=route):
            return f"add route {_route(route)}"
        case p.RemoveRoute(route=route):
            return f"remove route {_route(route)}"
        case _:
            assert_never(operation)


def _route(route: Route) -> str:
    return f"{route.to} via {route.via}" if route.via is not None else str(route.to)
