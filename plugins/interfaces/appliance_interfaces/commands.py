"""The console command ``show interfaces``."""

from __future__ import annotations

from typing import Any

from appliance.errors import ApplianceError
from appliance.plugin import Argument, Command, CommandContext, ask
from appliance_interfaces.events import GetInterfaces

ANSWER_S = 3.0
"""Three dumps of netlink take milliseconds; the service may be in the middle of a change."""


async def show_interfaces(context: CommandContext, *, name: str | None = None) -> dict[str, Any]:
    """All interfaces, or one."""
    answer = await ask(context, GetInterfaces(), table="interfaces", within_s=ANSWER_S)
    if name is None:
        return answer
    names = [interface["name"] for interface in answer["interfaces"]]
    if name not in names:
        known = ", ".join(names) or "none"
        raise ApplianceError(f"there is no interface {name!r}", hint=f"Configured are: {known}.")
    return {"interfaces": [interface for interface in answer["interfaces"] if interface["name"] == name]}


def render(data: dict[str, Any]) -> str:
    """The table people read."""
    if not data["interfaces"]:
        return "no interfaces are configured"
    rows = [("NAME", "DEVICE", "LINK", "MTU", "ADDRESSES")]
    for interface in data["interfaces"]:
        addresses = [_address(address) for address in interface["addresses"]] or ["-"]
        mtu = str(interface["mtu"] or "-")
        rows.append((interface["name"], interface["device"], link_word(interface), mtu, addresses[0]))
        rows += [("", "", "", "", address) for address in addresses[1:]]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]) for row in rows
    ]
    for interface in data["interfaces"]:
        for route in interface["routes"]:
            via = f" via {route['via']}" if route["via"] else ""
            missing = "" if route["present"] else "  (not in the kernel)"
            lines.append(f"route {route['to']}{via} through {interface['name']}{missing}")
    for interface in data["interfaces"]:
        lines += [f"{problem['what']}\n  {problem['fix']}" for problem in interface["problems"]]
    return "\n".join(line.rstrip() for line in lines)


def link_word(interface: dict[str, Any]) -> str:
    """``up``, ``no carrier``, ``down`` or ``missing``."""
    if not interface["present"]:
        return "missing"
    if not interface["up"]:
        return "down"
    return "up" if interface["carrier"] else "no carrier"


def _address(address: dict[str, Any]) -> str:
    if not address["present"]:
        return f"{address['address']} (not in the kernel)"
    return address["address"] if address["configured"] else f"{address['address']} (not ours)"


COMMANDS = (
    Command(
        path=("show", "interfaces"),
        help="Logical interfaces: device, link, addresses, routes and what is wrong with them.",
        run=show_interfaces,
        reads=True,
        render=render,
        arguments=(Argument(name="name", help="Only this logical interface"),),
    ),
)
