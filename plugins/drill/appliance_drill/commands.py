"""The console command ``ha rehearse``, on which `appliance drill` is built."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeVar, cast

import trio

from appliance.errors import ApplianceError
from appliance.events import Demotion, Event, LinkChanged, RoleChanged
from appliance.plugin import Argument, Command, CommandContext, NoProvider
from appliance_drill import plan
from appliance_drill.events import Begin, End

E = TypeVar("E", bound=Event)
LEAVE_S = 15.0
"""For the last word of a caller that has gone; the service puts back in any case."""
SECONDS = 30.0


async def rehearse(context: CommandContext, *, name: str, seconds: float = SECONDS) -> AsyncIterator[dict[str, Any]]:
    """Let it happen, say so, and put it back when the caller goes away or the time is over."""
    chosen = plan.choose(
        name,
        seconds,
        links=_facts(context, LinkChanged),
        roles=_facts(context, RoleChanged),
        reasons=_facts(context, Demotion),
    )
    try:
        begun = await context.call(Begin(name=chosen.name, device=chosen.device, seconds=seconds))
    except NoProvider:
        raise ApplianceError(
            "the drill service is not running on this node", hint="'appliance show services' says why."
        ) from None
    over = False
    try:
        yield begun
        ended = await context.call(End())
        over = True
        yield ended
    finally:
        if not over:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + LEAVE_S):
                await context.call(End(at_once=True))


def _facts(context: CommandContext, kind: type[E]) -> list[E]:
    return cast("list[E]", list(context.retained(kind)))


def render(data: dict[str, Any]) -> str:
    """One line for what has begun, another for its end."""
    return f"{data['node']}, {data['rehearsal'] or 'no rehearsal'}: {data['result']}"


COMMANDS: tuple[Command, ...] = (
    Command(
        path=("ha", "rehearse"),
        help="Let something happen to this node for some seconds, then put it back; it is put back as well when the "
        "caller goes away, dies, or the node restarts.",
        run=rehearse,
        arguments=(
            Argument(name="name", help="switchover, maintenance, disable, or unplug-INTERFACE", required=True),
            Argument(name="--seconds", type=float, help="how long at most", default=SECONDS),
        ),
        render=render,
    ),
)
