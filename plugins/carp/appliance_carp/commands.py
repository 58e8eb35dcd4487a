"""The console commands of CARP: ``show carp`` and role control under ``ha``."""

from __future__ import annotations

from typing import Any

from appliance.errors import RefusedError
from appliance.events import Reclaim, SetEnabled, SetMaintenance, Switchover
from appliance.plugin import Argument, Command, CommandContext, ask
from appliance_carp.events import CommitStaged, GetCarp

ANSWER_S = 2.0
"""A healthy service answers in milliseconds."""
ROLE_CHANGE_S = 15.0
"""A role change waits until the new role has settled; book timers need at most about 4 s."""


async def show_carp(context: CommandContext) -> dict[str, Any]:
    """The state of every virtual host."""
    answer: dict[str, Any] = await ask(context, GetCarp(), table="carp", within_s=ANSWER_S)
    return answer


async def switchover(context: CommandContext, *, force: bool = False) -> dict[str, Any]:
    """Hand over to the best peer."""
    return {"result": await ask(context, Switchover(force=force), table="carp", within_s=ROLE_CHANGE_S)}


async def maintenance(context: CommandContext, *, mode: str, force: bool = False) -> dict[str, Any]:
    """Enter or leave persistent maintenance."""
    return {
        "result": await ask(context, SetMaintenance(on=mode == "on", force=force), table="carp", within_s=ROLE_CHANGE_S)
    }


async def disable(context: CommandContext, *, force: bool = False) -> dict[str, Any]:
    """Give all virtual addresses up until the next start or `ha enable`."""
    return {"result": await ask(context, SetEnabled(on=False, force=force), table="carp", within_s=ROLE_CHANGE_S)}


async def enable(context: CommandContext) -> dict[str, Any]:
    """Take part again after `ha disable`; also ends a switchover."""
    said = await ask(context, SetEnabled(on=True), table="carp", within_s=ROLE_CHANGE_S)
    try:
        reclaimed = await ask(context, Reclaim(), table="carp", within_s=ANSWER_S)
    except RefusedError:
        return {"result": said}
    return {"result": f"the switchover is over; {reclaimed}"}


async def commit(context: CommandContext, *, force: bool = False) -> dict[str, Any]:
    """Put staged changes in force."""
    return {"result": await ask(context, CommitStaged(force=force), table="carp", within_s=ANSWER_S)}


def render_result(data: dict[str, Any]) -> str:
    """One sentence."""
    return str(data["result"])


def render_carp(data: dict[str, Any]) -> str:
    """The table people read."""
    flags = [] if data["enabled"] else ["DISABLED by command"]
    flags += ["in maintenance"] if data["maintenance"] else []
    flags += ["handed over on request, 'ha enable' lets it come back"] if data["resigned"] else []
    lines = [f"{data['node']}: " + (", ".join(flags) or "enabled") + f", demotion {data['demotion']}"]
    if data["waiting_for"]:
        waiting = ", ".join(f"{each['node']} {each['why']}" for each in data["waiting_for"])
        lines.append(f"  a change is staged: {waiting}; 'ha commit --force' does not wait")
    lines += [f"  demoted by {each['reason_text']}" for each in _reasons(data)]
    width = max((len(vip["name"]) for vip in data["vips"]), default=4)
    for vip in data["vips"]:
        lines.append(
            f"  {vip['name']:<{width}}  {vip['state']:<8} {vip['interface']}@{vip['vhid']}  "
            f"{', '.join([*vip['addresses'], *vip['aliases']])}"
        )
        lines.append(
            f"  {'':<{width}}  {vip['reason']}, since {vip['since']}; advbase {vip['advbase']:g} "
            f"advskew {vip['advskew']}, {vip['mac']}"
        )
        if vip["staged"]:
            lines.append(f"  {'':<{width}}  staged: {_staged(vip['staged'])}")
        for peer in vip["peers"]:
            lines.append(
                f"  {'':<{width}}  heard {peer['address']} advskew {peer['advskew']} {peer['last_seen_ms']} ms ago"
            )
        bad = {name: count for name, count in vip["counters"].items() if count and name not in ("sent", "received")}
        tail = "".join(f", {name} {count}" for name, count in bad.items())
        lines.append(f"  {'':<{width}}  sent {vip['counters']['sent']}, received {vip['counters']['received']}{tail}")
    return "\n".join(lines)


def _staged(staged: dict[str, Any]) -> str:
    password = ", another password" if staged["password"] else ""
    return f"VHID {staged['vhid']}, {', '.join([*staged['addresses'], *staged['aliases']])}{password}"


def _reasons(data: dict[str, Any]) -> list[dict[str, str]]:
    return [{"reason_text": f"{each['name']} ({each['weight']}) since {each['since']}"} for each in data["reasons"]]


_FORCE = Argument(name="--force", flag=True, help="also when no healthy peer would take over")

COMMANDS: tuple[Command, ...] = (
    Command(path=("show", "carp"), help="State of every virtual host.", run=show_carp, reads=True, render=render_carp),
    Command(
        path=("ha", "switchover"),
        help="Hand all virtual addresses to the best peer and report how long it took.",
        run=switchover,
        arguments=(_FORCE,),
        render=render_result,
    ),
    Command(
        path=("ha", "maintenance"),
        help="Hand over and stay BACKUP, over restarts, until switched off again.",
        run=maintenance,
        arguments=(Argument(name="mode", help="on or off", required=True, choices=("on", "off")), _FORCE),
        render=render_result,
    ),
    Command(
        path=("ha", "disable"),
        help="Give all virtual addresses up until the next start or 'ha enable'.",
        run=disable,
        arguments=(_FORCE,),
        render=render_result,
    ),
    Command(
        path=("ha", "enable"),
        help="Take part again after 'ha disable'; also ends a switchover.",
        run=enable,
        render=render_result,
    ),
    Command(
        path=("ha", "commit"),
        help="Put staged changes of virtual hosts in force, or say which node they wait for.",
        run=commit,
        arguments=(Argument(name="--force", flag=True, help="do not wait for nodes that have not got the change"),),
        render=render_result,
    ),
)
