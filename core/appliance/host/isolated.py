"""The process of an isolated service: ``python -m appliance.host.isolated <fd> [name]``.

Started by `appliance.host.spares`; `appliance.host.isolation` holds the other end of the socket `fd`. Every module
imported here is memory and start-up time of each such process: no pydantic, no pluggy, no structlog, no pyroute2.

How it ends:
- The node says so: `Stop` sets `Context.stopping`, later `Cancel` cancels the service.
- The node is gone (EOF): the same, by itself and at once, so that the service can say its last words.
  Not PR_SET_PDEATHSIG: a signal would leave no time for them.
- The service ends: its last frame says how.
Signals sent to whole groups (Ctrl-C, systemd stopping a unit) do nothing: the node decides.
"""

from __future__ import annotations

import importlib
import math
import os
import pickle
import signal
import socket
import sys
from contextlib import suppress
from typing import cast

import trio

from appliance.host.bridge import Answering, Channel
from appliance.host.failures import detail, first_leaf, one_line
from appliance.host.frames import (
    Begun,
    Call,
    Cancel,
    CancelCall,
    Crashed,
    Delivered,
    Finished,
    Job,
    Missed,
    Ping,
    Pong,
    Prepare,
    Ready,
    Reload,
    Reply,
    Start,
    Stop,
)
from appliance.host.plainlog import PlainLogger
from appliance.host.realtime import freeze_heap, make_punctual
from appliance.host.remote import RemoteContext
from appliance.plugin.context import Lagged

FLUSH_S = 1.0
"""How long the last frames may take to leave when the node is slow."""
HARD_EXIT_S = 5
"""After the node is gone and the grace time is over, a service that cannot be cancelled gets this long.
Then the kernel's alarm ends the process, which works even when Python is stuck: nobody else would."""


class _Process:
    """One run of the service, with what the node says meanwhile."""

    def __init__(self, channel: Channel, job: Job) -> None:
        self._channel = channel
        self._job = job
        self._log = PlainLogger(job.log, node=job.node.name, service=job.name)
        self._ctx = RemoteContext(channel, job, self._log)
        self._scope = trio.CancelScope()
        self._is_ready = False

    def started(self, value: object = None) -> None:
        """The service is ready (`appliance.plugin.Started`)."""
        if self._is_ready:
            raise RuntimeError("started() was called twice")
        self._is_ready = True
        self._channel.send(Ready())
        freeze_heap(self._job.isolation)

    async def run(self) -> int:
        """Run the service; the exit status of the process."""
        self._channel.send(Begun())
        make_punctual(self._job.isolation, self._log)
        last: Finished | Crashed = Finished()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._channel.pump)
            nursery.start_soon(self._listen, Answering(self._channel, nursery))
            nursery.start_soon(self._ctx.metrics.ship_changes)
            try:
                with self._scope:
                    await self._job.run(self._ctx, self)
            except* Exception as group:  # noqa: BLE001 - told to the supervisor, which is in the other process
                last = Crashed(one_line(group), detail(first_leaf(group)))
            await self._leave(last)
            nursery.cancel_scope.cancel(reason="the service has ended")
        return 0 if isinstance(last, Finished) else 1

    async def _leave(self, last: Finished | Crashed) -> None:
        self._ctx.metrics.ship()
        self._channel.send(last)
        with trio.move_on_after(FLUSH_S):
            await self._channel.flush()

    async def _listen(self, answering: Answering) -> None:
        ctx = self._ctx
        while (frame := await self._channel.receive()) is not None:
            match frame:
                case Delivered(subscription, seq, event):
                    ctx.deliver(subscription, (seq, event))
                case Missed(subscription, missed):
                    ctx.deliver(subscription, Lagged(missed))
                case Call():
                    ctx.begin(answering, frame)
                case Reload(number, config):
                    answering.begin(number, lambda config=config: ctx.reload(config))  # type: ignore[misc]
                case CancelCall(number):
                    answering.cancel(number)
                case Reply():
                    ctx.asking.answered(frame)
                case Ping():
                    self._channel.send(Pong())
                case Stop():
                    ctx.stopping.set()
                case Cancel(reason):
                    self._scope.cancel(reason=reason)
                case _:
                    raise TypeError(f"the node sent {type(frame).__name__}")
        await self._orphaned()

    async def _orphaned(self) -> None:
        """The node is gone: leave in an orderly way, but leave."""
        grace_s = max(self._job.grace_s, 0.0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(math.ceil(grace_s) + HARD_EXIT_S)
        self._log.warning("node_gone", hint="the service stops, because the node that runs it has died")
        self._ctx.asking.close("the node is gone")
        self._ctx.stopping.set()
        await trio.sleep(grace_s)
        self._scope.cancel(reason="the node is gone")


async def _main(sock: socket.socket) -> int:
    channel = Channel(sock)
    prepare = await channel.receive()
    if prepare is None:
        return 1
    assert isinstance(prepare, Prepare)
    sys.path[:] = prepare.sys_path
    with suppress(Exception):  # said when the service is to be started
        importlib.import_module(prepare.module)
    start = await channel.receive()
    if start is None:
        return 1
    try:
        assert isinstance(start, Start)
        process = _Process(channel, cast("Job", pickle.loads(start.job)))
    except Exception as error:  # noqa: BLE001 - importing the service runs foreign code
        channel.send(Crashed(f"the service cannot be imported: {one_line(error)}", detail(error)))
        return 1
    try:
        return await process.run()
    except Exception as error:  # noqa: BLE001 - the bridge itself broke, and the node should read why
        channel.send(Crashed(one_line(error), detail(error)))
        return 1


def main() -> int:
    """Entry point."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A handler and not SIG_IGN, which programs started by the service would inherit.
        signal.signal(number, lambda *_: None)
    with socket.socket(fileno=int(sys.argv[1])) as sock:
        os.set_inheritable(sock.fileno(), False)
        return trio.run(_main, sock)


if __name__ == "__main__":
    sys.exit(main())
