"""The console command ``show gateways``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from appliance.errors import UsageError
from appliance.plugin import Argument, Command, CommandContext, ask
from appliance_gateways.events import GetGateways
from appliance_gateways.groups import SLOTS

ANSWER_S = 2.0
"""The service answers from memory."""


async def show_gateways(context: CommandContext, *, name: str | None = None) -> dict[str, Any]:
    """All gateways and groups, or one of them."""
    answer = await ask(context, GetGateways(), table="gateways", within_s=ANSWER_S)
    if name is None:
        return answer
    names = [each["name"] for each in (*answer["gateways"], *answer["groups"])]
    if name not in names:
        known = ", ".join(names) or "none"
        raise UsageError(f"there is no gateway or group {name!r}", hint=f"Configured are: {known}.")
    return answer | {kind: [each for each in answer[kind] if each["name"] == name] for kind in ("gateways", "groups")}


def render(data: dict[str, Any]) -> str:
    """The tables people read."""
    blocks = []
    if data["gateways"]:
        head = ("NAME", "INTERFACE", "ADDRESS", "MONITOR", "STATUS", "LOSS", "RTT", "SINCE", "GROUPS")
        blocks.append(_table([head, *(_gateway(each) for each in data["gateways"])]))
    notes = [f"{each['name']}: {each['reason'] or each['error']}" for each in data["gateways"] if _is_noted(each)]
    notes += [f"{each['name']} demotes this node" for each in data["gateways"] if each["demoting"]]
    if notes:
        blocks.append("\n".join(notes))
    blocks += [_group(each) for each in data["groups"]]
    defaults = [_default(each) for each in data["defaults"] if each["configured"]]
    if defaults:
        blocks.append("\n".join(defaults))
    blocks += [f"{each['what']}\n  {each['fix']}" for each in data["problems"]]
    return "\n\n".join(blocks) or "no gateways are configured"


def _is_noted(gateway: dict[str, Any]) -> bool:
    return bool(gateway["reason"] or (gateway["error"] and gateway["status"] == "down"))


def _gateway(gateway: dict[str, Any]) -> tuple[str, ...]:
    loss = "-" if gateway["loss"] is None else f"{gateway['loss']:.1f} %"
    rtt = "-"
    if gateway["latency_ms"] is not None:
        rtt = f"{gateway['latency_ms']:.1f} ms (deviation {gateway['deviation_ms']:.1f})"
    return (
        gateway["name"],
        gateway["interface"],
        " ".join(gateway["addresses"]),
        gateway["monitor"] or "-",
        gateway["status"],
        loss,
        rtt,
        gateway["since"][:19] + "Z",
        " ".join(gateway["groups"]) or "-",
    )


def _group(group: dict[str, Any]) -> str:
    state = "NO LIVE MEMBER" if group["tier"] is None else f"tier {group['tier']}"
    how = "by source address" if group["sticky"] else "by connection"
    lines = [f"group {group['name']}: {state}, {how}, trigger {group['trigger']}"]
    rows = [
        (
            f"  {each['gateway']}",
            f"tier {each['tier']}",
            f"weight {each['weight']}",
            f"{each['slots']} of {SLOTS} slots" if each["usable"] else "not usable",
        )
        for each in sorted(group["members"], key=lambda each: each["tier"])
    ]
    return "\n".join([*lines, _table(rows)])


def _default(default: dict[str, Any]) -> str:
    family = default["family"].replace("ipv", "IPv")
    through = default["gateway"] or "no gateway"
    return f"default {family}: {default['configured']}, now through {through}"


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


COMMANDS = (
    Command(
        path=("show", "gateways"),
        help="Gateways with loss, round trip and status; groups with the share of each member.",
        run=show_gateways,
        reads=True,
        render=render,
        arguments=(Argument(name="name", help="Only this gateway or group"),),
    ),
)
