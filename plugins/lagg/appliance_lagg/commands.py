"""The console command ``show lagg``."""

from __future__ import annotations

from typing import Any

from appliance.errors import ApplianceError
from appliance.plugin import Argument, Command, CommandContext, ask
from appliance_lagg.events import GetLaggs

ANSWER_S = 3.0
"""One dump of netlink takes milliseconds; the service may be in the middle of a change."""


async def show_lagg(context: CommandContext, *, name: str | None = None) -> dict[str, Any]:
    """All aggregations, or one."""
    answer = await ask(context, GetLaggs(), table="lagg", within_s=ANSWER_S)
    chosen = [each for each in answer["laggs"] if name in (None, each["name"])]
    if name is not None and not chosen:
        known = ", ".join(each["name"] for each in answer["laggs"]) or "none"
        raise ApplianceError(f"there is no aggregation {name!r}", hint=f"Configured are: {known}.")
    return {"laggs": chosen}


def render(data: dict[str, Any]) -> str:
    """What people read: one block for each aggregation."""
    return "\n\n".join(_lagg(each) for each in data["laggs"]) or "no aggregations are configured"


def _lagg(lagg: dict[str, Any]) -> str:
    how = [lagg["protocol"]]
    how += [f"{key} {lagg[key]}" for key in ("hash", "rate", "primary") if lagg[key]]
    link = "missing" if not lagg["present"] else "down" if not lagg["up"] else "up" if lagg["carrier"] else "no carrier"
    lines = [f"{lagg['name']}: {link}, {', '.join(how)}, MTU {lagg['mtu'] or '-'}, {lagg['mac'] or 'no address'}"]
    if lagg["active"]:
        lines.append(f"active: {lagg['active']}")
    if lagg["protocol"] == "lacp":
        partner = lagg["partner"]
        heard = f"{partner['mac']}, key {partner['key']}, ports {partner['ports']}" if partner else "nobody answers"
        lines.append(f"partner: {heard}")
    if lagg["members"]:
        rows: list[tuple[str, ...]] = [("MEMBER", "STATE", "SPEED", "FLAPS", "LACP", "CHURN", "NEIGHBOUR")]
        rows += [_member(each) for each in lagg["members"]]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines += ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [f"{each['what']}\n  {each['fix']}" for each in lagg["problems"]]
    return "\n".join(lines)


def _member(member: dict[str, Any]) -> tuple[str, ...]:
    speed = "-" if member["speed"] is None else f"{member['speed']} {member['duplex'] or ''}".rstrip()
    lacp, churn = member["lacp"], "-"
    if lacp is not None and lacp["churn"] is not None:
        states = dict.fromkeys((lacp["churn"]["actor"], lacp["churn"]["partner"]))
        churn = f"{'/'.join(states)} ({lacp['churn']['count']})"
    neighbour = member["neighbour"]
    far = f"{neighbour['name'] or neighbour['chassis']} {neighbour['port']}" if neighbour else "-"
    return (
        member["name"],
        member["state"],
        speed,
        str(member["flaps"]),
        _bits(lacp) if lacp is not None else "-",
        churn,
        far,
    )


def _bits(lacp: dict[str, Any]) -> str:
    """``collecting distributing``, or what keeps a port from it."""
    working = [each for each in ("collecting", "distributing") if each in lacp["actor"]]
    if lacp["selected"] and len(working) == 2:
        return "in use"
    if not lacp["selected"]:
        return f"aggregator {lacp['aggregator']} not selected"
    return "no partner" if "defaulted" in lacp["actor"] else "not in step"


COMMANDS = (
    Command(
        path=("show", "lagg"),
        help="Link aggregations: members, the active one, partner and state of LACP, churn and flaps.",
        run=show_lagg,
        reads=True,
        render=render,
        arguments=(Argument(name="name", help="Only this aggregation"),),
    ),
)
