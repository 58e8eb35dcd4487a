"""Services that tests run in processes of their own.

They have to be importable over there by name, so they live in a module and not in the tests.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import trio

from appliance.errors import KernelError, RefusedError
from appliance.events import Event, LinkChanged, Request, Retracted, Status, event, request
from appliance.plugin.context import Context, Lagged, Overflow, Started


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Configuration of a test service."""

    number: int = 0
    path: str = ""


@event(retain="key")
class Heard(Event):
    """A test service tells what it has seen."""

    key: str
    value: object = None


@event()
class Ping(Event):
    """A test service is poked."""

    number: int


@request
class Double(Request[int]):
    """Asks for twice a number."""

    number: int


@request
class Look(Request[dict[str, object]]):
    """Asks a test service about its process."""


async def calm(ctx: Context, started: Started) -> None:
    """Answers `Look` and stops when asked to."""
    with ctx.serve(Look, look):
        started.started()
        await ctx.stopping.wait()


async def look(asked: Request[dict[str, object]]) -> dict[str, object]:
    return facts()


def facts() -> dict[str, object]:
    """What the kernel and the interpreter say about this process."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    smaps = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    locked_kb = int(status.split("VmLck:")[1].split()[0])
    return {
        "pid": os.getpid(),
        "ppid": os.getppid(),
        "sid": os.getsid(0),
        "modules": sorted(sys.modules),
        "rss_kb": int(status.split("VmRSS:")[1].split()[0]),
        "pss_kb": int(smaps.split("Pss:")[1].split()[0]),
        "locked_kb": locked_kb,
        "policy": os.sched_getscheduler(0),
        "priority": os.sched_getparam(0).sched_priority,
        "frozen": gc.get_freeze_count(),
        "stdin": os.readlink("/proc/self/fd/0"),
        "files": [os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.exists()],
        "switches": int(status.split("voluntary_ctxt_switches:")[1].split()[0]),
        "ignored": [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is signal.SIG_IGN],
    }


async def crashing(ctx: Context, started: Started) -> None:
    """Raises when it is poked."""
    with ctx.subscribe(Ping) as pings:
        ctx.publish(Status(summary="fine"))
        started.started()
        await pings.receive()
        raise KernelError("no such device", hint="plug it in")


async def unready(ctx: Context, started: Started) -> None:
    raise ValueError("boom")


async def leaving(ctx: Context, started: Started) -> None:
    started.started()


async def echoing(ctx: Context, started: Started) -> None:
    """Repeats what it hears about links, pings and retractions, in order."""
    with ctx.subscribe(LinkChanged, Ping, Retracted) as events:
        started.started()
        async for item in events:
            match item:
                case LinkChanged():
                    ctx.publish(Heard(key="link", value=item.interface))
                case Ping():
                    ctx.publish(Heard(key="ping", value=item.number))
                case Retracted():
                    ctx.publish(Heard(key="retracted", value=item.key))


async def slow_listener(ctx: Context, started: Started) -> None:
    """Does not read until it is asked to, then tells what it got."""
    go = trio.Event()

    async def on_look(asked: Request[dict[str, object]]) -> dict[str, object]:
        go.set()
        return {}

    with (
        ctx.subscribe(Ping, capacity=4) as pings,
        ctx.subscribe(Ping, overflow=Overflow.DROP_OLDEST, capacity=2) as last,
        ctx.serve(Look, on_look),
    ):
        started.started()
        await go.wait()
        ctx.publish(Heard(key="lagging", value=await _drain(pings)))
        ctx.publish(Heard(key="dropping", value=await _drain(last)))
        await ctx.stopping.wait()


async def _drain(pings: object) -> tuple[object, ...]:
    got: list[object] = []
    while True:
        with trio.move_on_after(0.3):
            try:
                got.append((await pings.receive()).number)  # type: ignore[attr-defined]
            except Lagged as lagged:
                got.append(f"missed {lagged.missed}")
            continue
        return tuple(got)


async def asking(ctx: Context, started: Started) -> None:
    """Calls a provider in the node, in every way it can go."""
    started.started()
    ctx.publish(Heard(key="answer", value=await ctx.call(Double(number=21))))
    for number in (-1, -2, -3):
        try:
            with trio.fail_after(0.3):
                await ctx.call(Double(number=number))
        except Exception as error:  # noqa: BLE001 - the test looks at what arrives
            ctx.publish(Heard(key=str(number), value=(type(error).__name__, str(error))))
    try:
        await ctx.call(Look())
    except Exception as error:  # noqa: BLE001
        ctx.publish(Heard(key="nobody", value=(type(error).__name__, str(error))))
    await ctx.stopping.wait()


async def serving(ctx: Context, started: Started) -> None:
    """Answers `Double`, refuses negative numbers, has a bug at zero, never answers 99, dies at 100."""

    async def double(asked: Request[int]) -> int:
        assert isinstance(asked, Double)
        if asked.number < 0:
            raise RefusedError("negative", hint="ask for more")
        if asked.number == 0:
            raise ZeroDivisionError("a bug")
        if asked.number == 99:
            try:
                await trio.sleep_forever()
            finally:
                ctx.publish(Heard(key="cancelled", value=True))
        if asked.number == 100:
            os.kill(os.getpid(), signal.SIGKILL)
        ctx.publish(Heard(key="caused", value=asked.number))
        return asked.number * 2

    with ctx.serve(Double, double):
        started.started()
        await ctx.stopping.wait()


async def reloading(ctx: Context, started: Started) -> None:
    """Takes changes live, refuses negative numbers."""

    async def handler(new: object) -> None:
        assert isinstance(new, Settings)
        if new.number < 0:
            raise RefusedError("a negative number", hint="take a positive one")
        ctx.publish(Heard(key="reloading", value=new.number))

    async def on_look(asked: Request[dict[str, object]]) -> dict[str, object]:
        return {"pid": os.getpid(), "config": ctx.config}

    with ctx.on_reload(handler), ctx.serve(Look, on_look):
        started.started()
        await ctx.stopping.wait()


async def demoting(ctx: Context, started: Started) -> None:
    """Is demoted from the first ping to the second."""
    with ctx.subscribe(Ping) as pings:
        started.started()
        await pings.receive()
        with ctx.demoted("link:lan", 100), ctx.demoted("link:lan", 50):
            await pings.receive()
        await ctx.stopping.wait()


async def counting(ctx: Context, started: Started) -> None:
    """Counts pings."""
    counter = ctx.metrics.counter("pings", "Pings heard", labels=("kind",))
    with ctx.subscribe(Ping) as pings, ctx.serve(Look, look):
        started.started()
        async for ping in pings:
            counter.inc(kind="odd" if ping.number % 2 else "even")


async def talkative(ctx: Context, started: Started) -> None:
    """Logs, and says when it is cancelled; needs its last words."""
    ctx.log.info("hello", number=7)
    started.started()
    try:
        await trio.sleep_forever()
    except trio.Cancelled as cancelled:
        ctx.publish(Ping(number=1))
        with trio.move_on_after(0.5, shield=True):
            await trio.sleep(0.05)
            ctx.log.info("last_words", reason=cancelled.reason)
            ctx.publish(Ping(number=2))
        raise


async def stubborn(ctx: Context, started: Started) -> None:
    """Does not let itself be cancelled."""
    started.started()
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()


async def noting_its_end(ctx: Context, started: Started) -> None:
    """Writes into a file that it was asked to stop, that it was cancelled, and that it has ended."""
    assert isinstance(ctx.config, Settings)
    with Path(ctx.config.path).open("a", encoding="ascii", buffering=1) as file:  # noqa: ASYNC230
        started.started()
        try:
            await ctx.stopping.wait()
            file.write(f"stopping {os.getpid()}\n")
            await trio.sleep_forever()
        finally:
            file.write("last words\n")


async def second_provider(ctx: Context, started: Started) -> None:
    async def double(asked: Request[int]) -> int:
        return 0

    with ctx.serve(Double, double):
        started.started()
        await ctx.stopping.wait()


async def flooding(ctx: Context, started: Started) -> None:
    """Publishes as many events as its number says."""
    assert isinstance(ctx.config, Settings)
    started.started()
    for number in range(ctx.config.number):
        ctx.publish(Ping(number=number))
    await ctx.stopping.wait()


async def unsendable(ctx: Context, started: Started) -> None:
    started.started()
    ctx.publish(Heard(key="x", value=lambda: None))


async def mirror(ctx: Context, started: Started) -> None:
    """Answers each ping with a `Heard`, for latency."""
    with ctx.subscribe(Ping) as pings:
        started.started()
        async for ping in pings:
            ctx.publish(Heard(key="ping", value=ping.number))


async def forking(ctx: Context, started: Started) -> None:
    """Leaves a guard behind that holds copies of all its files."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    ctx.publish(Heard(key="guard", value=pid))
    started.started()
    await ctx.stopping.wait()
