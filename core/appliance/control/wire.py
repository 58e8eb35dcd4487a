"""The control protocol: one JSON object per line, over a Unix stream socket, without any I/O.

Theory of operation. The node greets first, so that a client learns at once whether the process behind
the socket is alive. The client then sends one request and keeps its side open: closing it cancels the
command. The node answers with any number of `Data` (for ``--json``) or `Text` lines and ends with exactly
one `Exit`, `Failure` or `RunLocally`. Lines of an unknown kind and unknown fields are ignored, so both
sides can be extended.

    node    {"node": "fw1", "protocol": 1}
    client  {"argv": ["show", "ha"], "json": false, "width": 80}
    node    {"text": "fw1 is MASTER ..."}
    node    {"exit": 0}

This module is on the path of every `appliance show`: it imports next to nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from appliance.errors import ApplianceError

PROTOCOL = 1
REQUEST_LINE_MAX = 64 * 1024
"""Bytes. An argv is short; a client that sends more is not ours."""
REPLY_LINE_MAX = 16 * 1024 * 1024
"""Bytes. One answer is one line; a hundred thousand leases fit, a runaway command does not."""
ARGV_MAX = 256
"""Words of one command."""


class WireError(ApplianceError):
    """The other side does not speak the control protocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One command, as typed."""

    argv: tuple[str, ...]
    json: bool = False
    width: int = 0
    """Columns of the caller's terminal; 0: not a terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """The first line of the node."""

    node: str
    protocol: int = PROTOCOL


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """One result for programs."""

    data: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One result for people; printed with a line end after it."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """The end: exit with this status."""

    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The end: print these two lines and exit with this status."""

    message: str
    hint: str
    exit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLocally:
    """The end: the command exists but runs in the caller's process."""


Reply = Greeting | Data | Text | Exit | Failure | RunLocally


class LineSplitter:
    """Cuts a byte stream into lines; refuses a line longer than its limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._pending = 0

    def feed(self, received: bytes) -> list[bytes]:
        """Complete lines without their line end, in order.

        Raises:
            WireError: A line is longer than the limit. The stream is of no further use.
        """
        *complete, rest = received.split(b"\n")
        lines = []
        for part in complete:
            self._add(part)
            lines.append(b"".join(self._parts))
            self._parts, self._pending = [], 0
        if rest:
            self._add(rest)
        return lines

    def _add(self, part: bytes) -> None:
        self._pending += len(part)
        if self._pending > self._limit:
            raise WireError(
                f"a line on the control socket is longer than {self._limit} bytes",
                hint="Ask for less at a time, or use a client of the node's own version.",
            )
        self._parts.append(part)


def encode_request(request: Request) -> bytes:
    """The request as one line.

    Raises:
        WireError: It is longer than a node accepts.
    """
    return _line({"argv": list(request.argv), "json": request.json, "width": request.width}, REQUEST_LINE_MAX)


def decode_request(line: bytes) -> Request:
    """The request of a line.

    Raises:
        WireError: It is not a request.
    """
    message = _object(line)
    argv = message.get("argv")
    width = message.get("width", 0)
    if not isinstance(argv, list) or len(argv) > ARGV_MAX or not all(isinstance(word, str) for word in argv):
        raise _malformed('a request needs "argv", a list of words')
    if not isinstance(width, int) or isinstance(width, bool) or not 0 <= width <= 10_000:
        raise _malformed('"width" has to be a number of columns')
    return Request(argv=tuple(argv), json=message.get("json") is True, width=width)


def encode_reply(reply: Reply) -> bytes:
    """The reply as one line.

    Raises:
        WireError: It is longer than a client accepts, or is not JSON data.
    """
    match reply:
        case Greeting(node=node, protocol=protocol):
            message: dict[str, Any] = {"node": node, "protocol": protocol}
        case Data(data=data):
            message = {"data": data}
        case Text(text=text):
            message = {"text": text}
        case Exit(status=status):
            message = {"exit": status}
        case Failure():
            message = {"error": {"message": reply.message, "hint": reply.hint, "exit": reply.exit}}
        case RunLocally():
            message = {"local": True}
    return _line(message, REPLY_LINE_MAX)


def decode_reply(line: bytes) -> Reply | None:
    """The reply of a line; ``None`` for a kind this version does not know.

    Raises:
        WireError: It is not a reply.
    """
    message = _object(line)
    if "error" in message:
        return _failure(message["error"])
    match message:
        case {"exit": int(status)}:
            return Exit(status=status)
        case {"local": True}:
            return RunLocally()
        case {"data": data}:
            return Data(data=data)
        case {"text": str(text)}:
            return Text(text=text)
        case {"node": str(node), "protocol": int(protocol)}:
            return Greeting(node=node, protocol=protocol)
    return None


def _failure(error: object) -> Failure:
    match error:
        case {"message": str(message), "hint": str(hint), "exit": int(status)}:
            return Failure(message=message, hint=hint, exit=status)
    raise _malformed("an error needs a message, a hint and an exit status")


def _object(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        raise _malformed("a line is not JSON") from None
    if not isinstance(message, dict):
        raise _malformed("a line is not a JSON object")
    return message


def _line(message: dict[str, Any], limit: int) -> bytes:
    try:
        # Surrogates come from file names that are not UTF-8; ASCII escapes carry them through.
        line = json.dumps(message, separators=(",", ":"), allow_nan=False).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise WireError(
            f"the answer is not plain data: {error}", hint="Report this as a bug of the plugin that owns the command."
        ) from None
    if len(line) > limit:
        raise WireError(
            f"the message is {len(line)} bytes long, at most {limit} are allowed", hint="Ask for less at a time."
        )
    return line + b"\n"


def _malformed(what: str) -> WireError:
    return WireError(f"malformed message on the control socket: {what}", hint="Use the node's own `appliance` command.")
