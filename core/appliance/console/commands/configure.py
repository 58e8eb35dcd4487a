"""`appliance configure …`: editing sessions of this node, one command of the console shell at a time.

The candidate stays in the node, so no secret leaves it. `configure session` lasts as long as its connection.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Protocol

import trio

from appliance.console.shell.editor import Answer, Editor
from appliance.console.shell.names import existing_names
from appliance.console.shell.transactions import EditableNode, Transactions, describe
from appliance.console.shell.words import LineError, SecretMissingError
from appliance.control.context import ApplianceView
from appliance.events import ConfigApplied
from appliance.host.editing import EditSession
from appliance.plugin import Argument, Command, CommandContext, Overflow

Data = dict[str, Any]
FORMATS = ("text", "json", "set")
LOOK_S = 1.0
"""Between two looks at who else edits, which has no event."""
NOTICES_MAX = 16
"""Commits of others that a slow terminal may be behind."""


class EditingNode(EditableNode, ApplianceView, Protocol):
    """The node of these commands."""


class ConfigureContext(CommandContext, Protocol):
    """The context of these commands."""

    @property
    def appliance(self) -> EditingNode: ...
    @property
    def who(self) -> str:
        """Who runs the command."""
        ...


async def session(ctx: ConfigureContext, exclusive: bool) -> AsyncGenerator[Data, None]:
    """Begin to edit; it ends with the connection. Then say who commits meanwhile, and who begins to edit, too."""
    node = ctx.appliance
    now = trio.current_time()
    others = [describe(each, now) for each in node.editing.all()]
    reloader = node.reloader
    name = str(reloader.config.path)
    with (
        node.bus.subscribe(
            ConfigApplied, name="configure", capacity=NOTICES_MAX, overflow=Overflow.DROP_OLDEST, replay=False
        ) as applied,
        node.editing.editing(
            who=ctx.who,
            now=now,
            exclusive=exclusive,
            text=reloader.config.text,
            name=name,
            revision=reloader.revision,
        ) as own,
    ):
        known = {each.id for each in node.editing.all()}
        yield {"session": own.id, "revision": own.base_revision, "others": others}
        while True:
            event = None
            with trio.move_on_after(LOOK_S):
                event = await applied.receive()
            if event is not None and event.revision != own.base_revision:
                yield {"notice": f"{event.who} has put revision {event.revision} in force"}
            now_there = node.editing.all()
            for each in now_there:
                if each.id not in known:
                    yield {"notice": f"{each.who} edits the configuration, too"}
            known = {each.id for each in now_there}


async def line(ctx: ConfigureContext, format: str, session: str, line: str) -> Data:  # noqa: A002
    """One line of configuration mode; what is wrong with it comes with the place."""
    own, editor, transactions = _of(ctx, session)
    try:
        answer = await transactions.run(line)
        if format == "set":
            answer = _as_set(editor, answer, line)
    except LineError as error:
        wants_secret = isinstance(error, SecretMissingError)
        return _state(ctx, own, editor) | {"error": _told(error) | {"wants_secret": wants_secret}}
    shown = answer.data if format == "json" and answer.data is not None else None
    return _state(ctx, own, editor) | {
        "text": answer.text,
        "data": shown,
        "secret": answer.is_secret,
        "revision": answer.revision,
        "pending": ctx.appliance.reloader.unconfirmed_s is not None,
    }


async def text(ctx: ConfigureContext, session: str, part: str) -> Data:
    """A part of a file that is to be loaded."""
    own, editor, transactions = _of(ctx, session)
    transactions.receive(part)
    return _state(ctx, own, editor)


async def load(ctx: ConfigureContext, session: str, how: str) -> Data:
    """Load what was sent with `configure text`."""
    own, editor, transactions = _of(ctx, session)
    answer = await transactions.load(how)
    return _state(ctx, own, editor) | {"text": answer.text}


async def complete(ctx: ConfigureContext, session: str, line: str) -> Data:
    """What the end of a line of configuration mode may become."""
    _, editor, _ = _of(ctx, session)
    try:
        choices, start = editor.complete(line)
    except LineError as error:
        return {"error": _told(error)}
    rows = [{"text": each.text, "help": each.help, "is_value": each.is_value} for each in choices]
    return {"start": start, "choices": rows}


async def status(ctx: ConfigureContext) -> Data:
    """Who edits the configuration, and what waits to be confirmed."""
    now = trio.current_time()
    reloader = ctx.appliance.reloader
    return {
        "revision": reloader.revision,
        "unconfirmed_s": reloader.unconfirmed_s,
        "sessions": [
            {
                "who": each.who,
                "for_s": round(now - each.since, 1),
                "exclusive": each.exclusive,
                "changed": each.is_changed,
                "text": describe(each, now),
            }
            for each in ctx.appliance.editing.all()
        ],
    }


def _of(ctx: ConfigureContext, id: str) -> tuple[EditSession, Editor, Transactions]:  # noqa: A002
    node = ctx.appliance
    own = node.editing.find(id, who=ctx.who)
    models = node.reloader.models()
    editor = Editor(own, models, lambda: existing_names(node.config, own.candidate, models))
    return own, editor, Transactions(node, own, editor)


def _state(ctx: ConfigureContext, own: EditSession, editor: Editor) -> Data:
    is_in_force = own.candidate.text == ctx.appliance.reloader.config.text
    return {"place": editor.shown_place(), "changed": own.is_changed and not is_in_force}


def _told(error: LineError) -> Data:
    return {"message": error.message, "hint": error.hint, "at": error.at}


def _as_set(editor: Editor, answer: Answer, line: str) -> Answer:
    if answer.data is None:
        raise LineError("only a configuration can be shown as set commands", hint="Use it with `show`.", at=len(line))
    return Answer(text=editor.as_set_lines(answer, editor.path_of(line)))


def _render_status(data: Data) -> str:
    lines = [each["text"] for each in data["sessions"]] or ["nobody edits the configuration"]
    if data["unconfirmed_s"] is not None:
        lines.append(f"revision {data['revision']} rolls back in {data['unconfirmed_s']:.0f} s unless confirmed")
    return "\n".join(lines)


_SESSION = Argument(name="session", required=True, help="as `configure session` has said")
_LINE = Argument(name="line", required=True, help="what was typed")

COMMANDS: tuple[Command, ...] = (
    Command(
        path=("configure", "session"),
        help="Begin to edit, for the console shell; it ends with the connection.",
        run=session,
        arguments=(Argument(name="--exclusive", flag=True, help="nobody else may edit meanwhile"),),
    ),
    Command(
        path=("configure", "line"),
        help="One line of configuration mode, for the console shell.",
        run=line,
        arguments=(
            Argument(name="--format", choices=FORMATS, default="text", help="how a configuration is shown"),
            _SESSION,
            _LINE,
        ),
    ),
    Command(
        path=("configure", "complete"),
        help="What a line of configuration mode may become, for the console shell.",
        run=complete,
        arguments=(_SESSION, _LINE),
    ),
    Command(
        path=("configure", "text"),
        help="A part of a file to be loaded, for the console shell.",
        run=text,
        arguments=(_SESSION, Argument(name="part", required=True, help="some of its text")),
    ),
    Command(
        path=("configure", "load"),
        help="Load what was sent, for the console shell.",
        run=load,
        arguments=(_SESSION, Argument(name="how", choices=("merge", "override"), required=True, help="how")),
    ),
    Command(
        path=("configure", "status"),
        help="Who edits the configuration, and what waits to be confirmed.",
        run=status,
        reads=True,
        render=_render_status,
    ),
)
