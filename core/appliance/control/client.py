"""The synchronous client of the control socket: what `appliance show …` runs on.

Standard library only and little of it: an operator notices every tenth of a second.
"""

from __future__ import annotations

import socket
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from appliance.control import wire
from appliance.errors import ApplianceError, UnreachableError

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_SOCKET = "/run/appliance/control.sock"
GREETING_TIME_S = 3.0
"""A node that does not greet in this time is stopped or blocked: its loop turns in milliseconds."""
READ_SIZE = 256 * 1024


def request(
    path: str | Path, argv: Sequence[str], *, json: bool = False, width: int = 0
) -> Generator[wire.Reply, None, None]:
    """Send one command and yield the replies; the last one is `Exit`, `Failure` or `RunLocally`.

    Raises:
        UnreachableError: Nothing answers on this socket.
        ApplianceError: The node went away before it had answered.
    """
    with Call(path, argv, json=json, width=width) as call:
        yield from call.replies()


class Call:
    """One command on its way, which another thread may end.

    Raises:
        UnreachableError: Nothing answers on this socket.
    """

    def __init__(self, path: str | Path, argv: Sequence[str], *, json: bool = False, width: int = 0) -> None:
        self._path = path
        line = wire.encode_request(wire.Request(argv=tuple(argv), json=json, width=width))
        self._connection = _connect(str(path))
        # A node that refuses us may have closed already; its reason is still there to be read.
        with suppress(BrokenPipeError):
            self._connection.sendall(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back; nobody may wait for replies any more."""
        self._connection.close()

    def end(self) -> None:
        """Cancel the command; whoever waits for its replies gets an error."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def replies(self) -> Iterator[wire.Reply]:
        """The replies, see `request`."""
        try:
            for reply in _replies(self._connection):
                # A command may take its time (a handover settles); only the first sign of life may not.
                self._connection.settimeout(None)
                if reply is None or isinstance(reply, wire.Greeting):
                    continue
                yield reply
                if isinstance(reply, wire.Exit | wire.Failure | wire.RunLocally):
                    return
        except TimeoutError:
            raise _silent(self._path) from None
        except ConnectionResetError:
            pass
        raise ApplianceError(
            "the node closed the connection before it had answered",
            hint="It is stopping or has crashed: look at its log, then try again.",
        )


def _replies(connection: socket.socket) -> Iterator[wire.Reply | None]:
    lines = wire.LineSplitter(wire.REPLY_LINE_MAX)
    while received := connection.recv(READ_SIZE):
        for line in lines.feed(received):
            yield wire.decode_reply(line)


def _connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(GREETING_TIME_S)
    try:
        connection.connect(path)
    except OSError as error:
        connection.close()
        raise _unreachable(path, error) from None
    return connection


def _unreachable(path: str, error: OSError) -> UnreachableError:
    if isinstance(error, PermissionError):
        return UnreachableError(
            f"not allowed to talk to the node on {path}", hint="Use root, or join the group `appliance`."
        )
    if isinstance(error, TimeoutError | BlockingIOError):
        return _silent(path)
    if isinstance(error, FileNotFoundError | ConnectionRefusedError | NotADirectoryError):
        return UnreachableError(
            f"no node is running on {path}",
            hint="Start it (`systemctl start appliance`, or `appliance run -c FILE`), "
            "or choose another node with --socket or APPLIANCE_SOCKET.",
        )
    return UnreachableError(
        f"cannot connect to {path}: {error.strerror or error}", hint="Choose another node with --socket."
    )


def _silent(path: str | Path) -> UnreachableError:
    return UnreachableError(
        f"the node behind {path} does not answer",
        hint="Its process is stopped or overloaded: look at `systemctl status appliance`.",
    )
