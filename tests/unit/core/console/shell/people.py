"""A node that runs, and people who edit its configuration through its commands."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, cast

import trio

from appliance.console.commands import configure
from appliance.control.context import ControlContext
from appliance.host.appliance import Appliance
from appliance.host.discovery import discover

TEXT = '[node]\nname = "fw1"\n\n# who may do what\n[users.admin]\nrole = "operator"      # the boss\n'
PATIENCE_S = 20.0


def make_node(folder: Path, *, text: str = TEXT) -> Appliance:
    """A node with all plugins installed and hardly any in use."""
    file = folder / "a.toml"
    file.write_text(text)
    return Appliance(config_path=file, state_dir=folder / "state", socket=folder / "s", found=discover())


def with_node(folder: Path, main: Callable[[Appliance], Awaitable[None]], *, text: str = TEXT) -> None:
    """Run a test beside a node, in one loop."""

    async def run() -> None:
        node = make_node(folder, text=text)
        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as nursery:
                await nursery.start(node.run)
                await main(node)
                node.request_stop("the test is over")

    trio.run(run)


@contextmanager
def live_node(folder: Path, *, text: str = TEXT) -> Iterator[Appliance]:
    """A node in a thread of its own, for clients that block."""
    node, up = make_node(folder, text=text), threading.Event()
    token: list[trio.lowlevel.TrioToken] = []

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(node.run)
            token.append(trio.lowlevel.current_trio_token())
            up.set()

    thread = threading.Thread(target=trio.run, args=(run,))
    thread.start()
    try:
        assert up.wait(PATIENCE_S)
        yield node
    finally:
        token[0].run_sync_soon(node.request_stop, "the test is over")
        thread.join(PATIENCE_S)


class Person:
    """Somebody with an editing session."""

    def __init__(self, node: Appliance, who: str, opened: dict[str, Any], notices: AsyncIterator[Any]) -> None:
        self._context = cast(Any, ControlContext(cast(Any, node), who=who))
        self.node, self.id, self.others = node, str(opened["session"]), list(opened["others"])
        self._notices = notices

    async def says(self, line: str, how: str = "text") -> dict[str, Any]:
        """One line; what the node answers."""
        return await configure.line(self._context, how, self.id, line)

    async def reads(self, line: str) -> str:
        """One line that is understood; the text of the answer."""
        answer = await self.says(line)
        assert "error" not in answer, answer
        return str(answer["text"])

    async def hears(self) -> str:
        """What the node says about others next."""
        return str((await anext(self._notices))["notice"])

    async def loads(self, text: str, how: str) -> str:
        """Send a file in two parts and load it."""
        await configure.text(self._context, self.id, text[:10])
        await configure.text(self._context, self.id, text[10:])
        return str((await configure.load(self._context, self.id, how))["text"])

    async def completes(self, line: str) -> dict[str, Any]:
        """What a line may become."""
        return await configure.complete(self._context, self.id, line)

    async def looks(self) -> dict[str, Any]:
        """Who edits."""
        return await configure.status(self._context)


@asynccontextmanager
async def editing(node: Appliance, who: str = "olga", *, exclusive: bool = False) -> AsyncIterator[Person]:
    """An editing session."""
    context = cast(Any, ControlContext(cast(Any, node), who=who))
    async with aclosing(configure.session(context, exclusive)) as notices:
        yield Person(node, who, await anext(notices), notices)
