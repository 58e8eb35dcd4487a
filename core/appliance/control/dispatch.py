"""Runs one request of the control socket: words to a command, its result to replies.

A command may come from any plugin, so this is a border like the plugin façade: whatever it raises ends
this command, never the node.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import trio

from appliance import logs
from appliance.console import commands as core_commands
from appliance.console.grammar import Grammar, Parsed
from appliance.console.render import render, visible
from appliance.control import wire
from appliance.control.access import Access, Caller
from appliance.control.context import ApplianceView, ControlContext
from appliance.errors import ApplianceError
from appliance.plugin import Command, NoProvider, ProviderFailed, Where

Send = Callable[[wire.Reply], Awaitable[None]]


class Dispatcher:
    """Answers requests on behalf of one node."""

    def __init__(self, appliance: ApplianceView) -> None:
        self._appliance = appliance
        self._access = Access(lambda: appliance.config)
        self._core = core_commands.daemon_commands()
        self._log = logs.logger(part="control")

    def grammar(self) -> Grammar:
        """All commands of this moment: a reload may have enabled or disabled a plugin."""
        contributed = [entry.command for entry in self._appliance.plugins.commands()]
        return Grammar([*self._core, *contributed], elsewhere=core_commands.LOCAL_HEADS)

    async def refusal(self, caller: Caller) -> wire.Failure | None:
        """Why this caller may not even look; `None` when it may."""
        try:
            await self._access.refuse_stranger(caller)
        except ApplianceError as error:
            self._log.warning("client_refused", user=caller.name, error=error.message)
            return wire.Failure(message=error.message, hint=error.hint, exit=error.exit_code)
        return None

    async def answer(self, request: wire.Request, send: Send, caller: Caller) -> None:
        """Run the command and send everything, including the end."""
        try:
            end = await self._run(request, send, caller)
        except Exception as error:  # noqa: BLE001 - the border to plugins' code
            end = self._failure(error, request)
        await send(end)

    async def _run(self, request: wire.Request, send: Send, caller: Caller) -> wire.Reply:
        grammar = self.grammar()
        if request.argv and request.argv[0] in core_commands.LOCAL_HEADS and not grammar.knows(request.argv):
            return wire.RunLocally()
        prefix = grammar.help_wanted(request.argv)
        if prefix == ():
            return wire.RunLocally()  # of everything; the commands that need no node are not known here
        if prefix is not None:
            await send(wire.Text(text=grammar.help(prefix)))
            return wire.Exit(status=0)
        parsed = grammar.parse(request.argv)
        if parsed.command.where is Where.LOCAL:
            return wire.RunLocally()
        self._access.refuse_change(caller, parsed.command)
        context = ControlContext(self._appliance, who=caller.name)
        await self._emit_all(parsed, context, request, send)
        return wire.Exit(status=context.exit_code)

    async def _emit_all(self, parsed: Parsed, context: ControlContext, request: wire.Request, send: Send) -> None:
        as_json = request.json or parsed.json
        result = parsed.command.run(context, **parsed.arguments)
        if inspect.isasyncgen(result):
            async with aclosing(result):
                is_empty = True
                async for item in result:
                    is_empty = False
                    await send(_reply(parsed.command, item, as_json, request.width))
            if is_empty and parsed.command.empty and not as_json:
                await send(wire.Text(text=parsed.command.empty))
            return
        if inspect.isawaitable(result):
            result = await result
        if result is not None:
            await send(_reply(parsed.command, result, as_json, request.width))

    def _failure(self, error: Exception, request: wire.Request) -> wire.Failure:
        while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        match error:
            case ApplianceError():
                # It may repeat what another node said.
                return wire.Failure(message=visible(error.message), hint=visible(error.hint), exit=error.exit_code)
            case NoProvider():
                return wire.Failure(
                    message=f"nobody on this node can answer: {error}",
                    hint="The service is not configured, is starting, or has failed: see `appliance show services`.",
                    exit=1,
                )
            case trio.TooSlowError():
                return wire.Failure(
                    message="the node did not do it in time",
                    hint="See `appliance show services` and `appliance doctor`.",
                    exit=1,
                )
        cause = error.__cause__ if isinstance(error, ProviderFailed) and error.__cause__ else error
        *_, last = [None, *traceback.extract_tb(cause.__traceback__)]
        where = f"{last.filename}:{last.lineno}" if last else ""
        self._log.error("command_failed", argv=list(request.argv), error=f"{type(cause).__name__}: {cause}", at=where)
        return wire.Failure(
            message=f"`{' '.join(request.argv)}` failed: {type(cause).__name__}: {cause}",
            hint="This is a bug of the plugin that owns the command: report it with the node's log.",
            exit=1,
        )


def _reply(command: Command, data: Any, as_json: bool, width: int) -> wire.Reply:
    if as_json:
        return wire.Data(data=data)
    text = command.render(data) if command.render is not None else render(data, width=width)
    return wire.Text(text=visible(text))
