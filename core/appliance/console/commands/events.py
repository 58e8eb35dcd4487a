"""`appliance events`: the event bus as it happened and as it happens, and why something happened."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any

from appliance.bus import TraceFilter
from appliance.console.render import visible
from appliance.control.context import ControlContext
from appliance.errors import RefusedError
from appliance.events import Event
from appliance.plugin import Argument, Command, Overflow

Row = dict[str, Any]
QUEUE = 1024
"""Events a slow terminal may be behind; older ones are dropped, and the gap in the numbers shows it."""
COUNT_DEFAULT = 50
CALLS = frozenset(["Called", "Answered"])
"""Every command makes some; who looks at the past would mostly see that somebody looked at it."""
FILTERS = (
    Argument(name="--type", help="only events of this class, such as RoleChanged"),
    Argument(name="--source", help="only events of this service or plugin, such as carp"),
    Argument(name="--calls", flag=True, help="also what services asked each other, and the outcome"),
    Argument(name="--count", type=int, default=COUNT_DEFAULT, help="how many past events"),
)


async def events(
    ctx: ControlContext, follow: bool, type: str | None, source: str | None, count: int, calls: bool = False  # noqa: A002
) -> AsyncGenerator[Row, None]:  # fmt: skip
    """Past events, oldest first; then, on request, every new one."""
    hidden = frozenset() if calls or type is not None else CALLS
    wanted = TraceFilter(types=frozenset([type]) if type else frozenset(), source=source or "", without=hidden)
    bus = ctx.appliance.bus
    if not follow:
        for envelope in bus.trace.select(wanted, limit=max(count, 0)):
            yield envelope.to_json()
        return
    # Subscribed before the past is read, so that nothing falls in between.
    with bus.subscribe(Event, name="events", capacity=QUEUE, overflow=Overflow.DROP_OLDEST, replay=False) as new:
        for envelope in bus.trace.select(wanted, limit=max(count, 0)):
            yield envelope.to_json()
        while True:
            envelope = await new.receive_envelope()
            if wanted.matches(envelope):
                yield envelope.to_json()


async def why(ctx: ControlContext, seq: int) -> list[Row]:
    """The chain of causes behind one event, root first."""
    chain = ctx.appliance.bus.trace.why(seq)
    if not chain:
        raise RefusedError(
            f"event {seq} is not recorded", hint="Only the last few thousand are kept: see `appliance events`."
        )
    return [envelope.to_json() for envelope in chain]


def render_event(row: Row) -> str:
    """One event in one line: number, local time, source, type, fields."""
    clock = datetime.fromtimestamp(row["wall"]).astimezone().strftime("%H:%M:%S.%f")[:-3]
    fields = row["event"] if isinstance(row["event"], dict) else {"": row["event"]}
    text = " ".join(f"{key}={_value(value)}" for key, value in fields.items())
    return f"{row['seq']:>7} {clock} {row['source']:<20} {row['type']} {text}".rstrip()


def _value(value: object) -> str:
    text = visible(str(value)).replace("\n", "\\n").replace("\t", " ")
    return f'"{text}"' if not text or " " in text else text


def _render_chain(rows: list[Row]) -> str:
    first = rows[0]
    lines = [f"(caused by event {first['cause']}, which is no longer recorded)"] if first["cause"] is not None else []
    lines += ["  " * depth + render_event(row).lstrip() for depth, row in enumerate(rows)]
    return "\n".join(lines)


_FOLLOW = Argument(name="--follow", flag=True, help="go on with every new event until interrupted")

COMMANDS = (
    Command(path=("events",), help="Past events; with --follow also new ones as they happen.", run=events, reads=True,
            arguments=(_FOLLOW, *FILTERS), render=render_event),
    Command(path=("show", "events"), help="As `events`.", run=events, reads=True,
            arguments=(_FOLLOW, *FILTERS), render=render_event),
    Command(path=("events", "why"), help="The chain of causes behind one event.", run=why, reads=True,
            arguments=(Argument(name="seq", type=int, required=True, help="number of the event"),),
            render=_render_chain),
)  # fmt: skip
