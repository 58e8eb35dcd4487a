"""The node as the shell sees it: one command at a time, and two connections that listen in threads of their own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from appliance.control import client, wire
from appliance.errors import ApplianceError

AGAIN_S = 1.0
"""Between two attempts to reach a node that does not run."""
PART_MAX = 5_000
"""Characters of a file in one request: each may take 12 bytes there."""


class NodeFailedError(ApplianceError):
    """The node has refused a command."""

    def __init__(self, failure: wire.Failure) -> None:
        super().__init__(failure.message, hint=failure.hint)
        self.exit_code = failure.exit

    def __reduce__(self) -> tuple[object, ...]:
        return (NodeFailedError, (wire.Failure(message=self.message, hint=self.hint, exit=self.exit_code),))


def data(path: str, argv: Sequence[str]) -> Any:
    """The one result of a command.

    Raises:
        ApplianceError: It failed, or nothing answers.
    """
    found: Any = None
    for reply in client.request(path, argv, json=True):
        if isinstance(reply, wire.Data):
            found = reply.data
        elif isinstance(reply, wire.Failure):
            raise NodeFailedError(reply)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the prompt shows of a node."""

    node: str = ""
    role: str = ""
    """Empty: it does not answer."""
    revision: int = 0
    deadline: float | None = None
    """Monotonic time at which an unconfirmed change rolls back."""
    editors: tuple[str, ...] = ()


class Watch:
    """Keeps what the prompt shows up to date, in a thread, until `stop` or the end of the process.

    Args:
        path: The control socket.
        clock: Monotonic seconds.
        notice: Called, in another thread, with what everybody should know.
    """

    def __init__(
        self, path: str, clock: Callable[[], float] = time.monotonic, notice: Callable[[str], None] = lambda _: None
    ) -> None:
        self._path, self._clock, self._notice = path, clock, notice
        self.seen = Seen()
        self.first = threading.Event()
        """Set when the node has answered, or has not."""
        self._call: client.Call | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._stopped.set()
        if self._call is not None:
            self._call.end()
        self._thread.join(AGAIN_S)

    def _run(self) -> None:
        while not self._stopped.is_set():
            with suppress(ApplianceError):
                self._listen()
            self.seen = Seen(node=self.seen.node)
            self.first.set()
            self._stopped.wait(AGAIN_S)

    def _listen(self) -> None:
        with client.Call(self._path, ("shell", "watch"), json=True) as self._call:
            for reply in self._call.replies():
                if self._stopped.is_set() or not isinstance(reply, wire.Data):
                    return
                if "notice" in reply.data:
                    self._notice(str(reply.data["notice"]))
                    continue
                self.seen = self._read(reply.data)
                self.first.set()

    def _read(self, data: dict[str, Any]) -> Seen:
        left = data.get("unconfirmed_s")
        return Seen(
            node=str(data.get("node", "")),
            role=str(data.get("role", "")),
            revision=int(data.get("revision", 0)),
            deadline=None if left is None else self._clock() + float(left),
            editors=tuple(map(str, data.get("editors", ()))),
        )


class EditingLink:
    """An editing session of the node, which lasts until `close`.

    Args:
        path: The control socket.
        exclusive: Nobody else may edit meanwhile.
        notice: Called, in another thread, with what others do.

    Raises:
        ApplianceError: The node refuses it, or does not answer.
    """

    def __init__(self, path: str, *, exclusive: bool, notice: Callable[[str], None]) -> None:
        self._path, self._notice = path, notice
        argv = ["configure", "session", *(["--exclusive"] if exclusive else [])]
        self._call = client.Call(path, argv, json=True)
        self._replies = self._call.replies()
        first = next(self._replies)
        if isinstance(first, wire.Failure):
            self._call.close()
            raise NodeFailedError(first)
        opened = first.data if isinstance(first, wire.Data) else {}
        self.id = str(opened.get("session", ""))
        self.others: tuple[str, ...] = tuple(opened.get("others", ()))
        """Who edits already, one sentence each."""
        self.place = ""
        self.is_changed = False
        self._thread = threading.Thread(target=self._listen, args=(self._replies,), name="editing", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the session; what is not committed is gone."""
        self._call.end()
        self._thread.join(AGAIN_S)
        self._call.close()

    def line(self, text: str, *, format: str = "text") -> dict[str, Any]:  # noqa: A002
        """One line of configuration mode."""
        return self._stated(data(self._path, ["configure", "line", f"--format={format}", "--", self.id, text]))

    def load(self, text: str, how: str) -> dict[str, Any]:
        """Send a file and load it."""
        for start in range(0, len(text), PART_MAX):
            data(self._path, ["configure", "text", "--", self.id, text[start : start + PART_MAX]])
        return self._stated(data(self._path, ["configure", "load", "--", self.id, how]))

    def complete(self, text: str) -> dict[str, Any]:
        """What the end of a line may become."""
        found: dict[str, Any] = data(self._path, ["configure", "complete", "--", self.id, text])
        return found

    def _stated(self, answer: dict[str, Any]) -> dict[str, Any]:
        self.place, self.is_changed = str(answer.get("place", "")), bool(answer.get("changed"))
        return answer

    def _listen(self, replies: Iterator[wire.Reply]) -> None:
        with suppress(ApplianceError, OSError, ValueError):
            for reply in replies:
                if isinstance(reply, wire.Data) and "notice" in reply.data:
                    self._notice(str(reply.data["notice"]))
