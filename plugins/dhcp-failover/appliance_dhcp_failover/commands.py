"""``show dhcp`` and ``dhcp lease``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from appliance.plugin import Argument, Command, CommandContext, ask
from appliance_dhcp_failover.events import FindLeases, GetDhcp, ReleaseLease

TABLE = "dhcp_failover"
LEASES_S = 5.0
"""Thousands of leases are a second of work."""
RELEASE_S = 10.0
"""Kea and the other node have to agree."""


async def show_dhcp(ctx: CommandContext, interface: str | None = None, *, pools: bool = False) -> dict[str, Any]:
    """Pools and leases, or pools only."""
    return await ask(ctx, GetDhcp(interface=interface or "", leases=not pools), table=TABLE, within_s=LEASES_S)


async def find(ctx: CommandContext, text: str) -> dict[str, Any]:
    """Leases with a text in them."""
    return await ask(ctx, FindLeases(text=text), table=TABLE, within_s=LEASES_S)


async def release(ctx: CommandContext, address: str) -> dict[str, Any]:
    """Take a lease from its client."""
    return {"result": await ask(ctx, ReleaseLease(address=address), table=TABLE, within_s=RELEASE_S)}


def render(data: dict[str, Any]) -> str:
    """Pools with their states, then leases."""
    lines = [_pool(each) for each in data["pools"]]
    lines += [f"{each['name']}: {each['state']}{_why(each['error'])}" for each in data["peers"]]
    if data["replication"]:
        lines.append(f"leases stay on this node: {data['replication']}")
    more = data["leases_total"] - len(data["leases"])
    if data["leases"] or not more:
        lines.append(render_leases(data))
    if more and not data["leases"]:
        lines.append(f"{more} leases")
    elif more:
        lines.append(f"… and {more} more: 'appliance dhcp lease find TEXT' finds them")
    return "\n".join(lines)


def render_leases(data: dict[str, Any]) -> str:
    """A table of leases."""
    if not data["leases"]:
        return "no leases"
    head = ("ADDRESS", "MAC", "HOSTNAME", "EXPIRES", "GRANTED BY", "INTERFACE")
    names = ("address", "mac", "hostname", "expires", "granted_by", "interface")
    return _table([head, *(tuple(str(row[name]) for name in names) for row in data["leases"])])


def _pool(pool: dict[str, Any]) -> str:
    peer = f"peer {pool['peer']} {pool['peer_state']}, {pool['replication']}" if pool["peer"] else "no peer"
    refused = f"\n  configuration not in force: {pool['refused']}" if pool["refused"] else ""
    return (
        f"{pool['interface']}: {pool['my_state']} since {pool['since']} ({pool['reason']}); {peer}; "
        f"{pool['used']} of {pool['size']} addresses used, {pool['free']} free{refused}"
    )


def _why(error: str) -> str:
    return f" ({error})" if error else ""


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


COMMANDS = (
    Command(
        path=("show", "dhcp"),
        help="What this node and its peer do for DHCP clients, and all leases.",
        run=show_dhcp,
        reads=True,
        render=render,
        arguments=(
            Argument(name="interface", help="Only this logical interface"),
            Argument(name="--pools", flag=True, help="Without the leases, of which there may be thousands"),
        ),
    ),
    Command(
        path=("dhcp", "lease", "find"),
        help="Leases by a part of their address, MAC, client identifier or host name.",
        run=find,
        reads=True,
        render=render_leases,
        arguments=(Argument(name="text", help="A part of it", required=True),),
    ),
    Command(
        path=("dhcp", "lease", "release"),
        help="Take a lease from its client, on all nodes.",
        run=release,
        render=lambda data: str(data["result"]),
        arguments=(Argument(name="address", help="The address", required=True),),
    ),
)
