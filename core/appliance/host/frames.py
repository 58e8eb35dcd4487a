"""What travels between a node and a service in its own process. Imported by isolated services: light."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

from appliance.events import Event, Request
from appliance.plugin.context import Context, Overflow, Started
from appliance.plugin.contributions import Isolation
from appliance.plugin.node import Node

HEADER = struct.Struct("!I")
FRAME_MAX = 4 << 20
"""Bytes. The largest honest frame is a configuration; 255 virtual hosts take about 100 kB."""


class BridgeError(Exception):
    """The other process does not read, or something cannot be sent."""


class Prepare(NamedTuple):
    """First frame to the child: what to import while the service still waits for others."""

    sys_path: list[str]
    module: str
    """Where the service is, or what it needs besides."""


class Start(NamedTuple):
    """Second frame to the child. The job is nested, because unpickling it needs the path of the first one."""

    job: bytes


class Stop(NamedTuple):
    """To the child: set `Context.stopping`."""


class Cancel(NamedTuple):
    """To the child: cancel the service."""

    reason: str


class Reload(NamedTuple):
    """To the child: call the reload handler; answered like a call."""

    number: int
    config: object


class Delivered(NamedTuple):
    """To the child: the next event of a subscription."""

    subscription: int
    seq: int
    event: Event


class Missed(NamedTuple):
    """To the child: events of a subscription are lost."""

    subscription: int
    missed: int


class Ping(NamedTuple):
    """To the child: answer with `Pong`."""


class Pong(NamedTuple):
    """To the node: the loop of the child turns."""


class Begun(NamedTuple):
    """To the node: the interpreter has loaded the service and calls it."""


class Ready(NamedTuple):
    """To the node: ``started()``."""


class Finished(NamedTuple):
    """To the node: `Service.run` returned, or was cancelled."""


class Crashed(NamedTuple):
    """To the node: `Service.run` raised."""

    line: str
    detail: str


class Published(NamedTuple):
    """To the node: an event, and the `seq` of what caused it."""

    event: Event
    cause: int | None


class Subscribe(NamedTuple):
    """To the node: open a subscription on the real bus."""

    subscription: int
    types: tuple[type[Event], ...]
    capacity: int
    overflow: Overflow
    replay: bool
    window: int


class Unsubscribe(NamedTuple):
    """To the node: close it."""

    subscription: int


class Credit(NamedTuple):
    """To the node: so many more events may be sent."""

    subscription: int
    more: int


class Serve(NamedTuple):
    """To the node: requests of this type are answered here."""

    kind: type[Request[Any]]


class Unserve(NamedTuple):
    """To the node: no longer."""

    kind: type[Request[Any]]


class Reloadable(NamedTuple):
    """To the node: there is a reload handler, or no longer."""

    on: bool


class Samples(NamedTuple):
    """To the node: metrics that changed (`appliance.metrics.Sample`)."""

    samples: tuple[Any, ...]


class Call(NamedTuple):
    """Either way: answer this request."""

    number: int
    request: Request[Any]
    cause: int | None


class CancelCall(NamedTuple):
    """Either way: the caller does not wait any longer."""

    number: int


class Reply(NamedTuple):
    """Either way: the answer to a `Call` or a `Reload`."""

    number: int
    value: object
    error: Exception | None


ToService = Prepare | Start | Stop | Cancel | Reload | Delivered | Missed | Ping
ToNode = (
    Pong
    | Begun
    | Ready
    | Finished
    | Crashed
    | Published
    | Subscribe
    | Unsubscribe
    | Credit
    | Serve
    | Unserve
    | Reloadable
    | Samples
)
Frame = ToService | ToNode | Call | CancelCall | Reply


class LogSettings(NamedTuple):
    """How the node logs, so that its services in other processes log the same."""

    level: int
    """As in the standard library."""
    json: bool


class Job(NamedTuple):
    """What an isolated service is started with; the content of `Start.job`."""

    name: str
    run: Callable[[Context, Started], Awaitable[None]]
    """By reference: unpickling it imports the module of the service, and with it what that needs."""
    config: object
    node: Node
    state_dir: Path
    grace_s: float
    seed: int
    isolation: Isolation
    log: LogSettings


def encode(frame: Frame) -> bytes:
    """A frame as bytes."""
    try:
        body = pickle.dumps(frame, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise BridgeError(f"{_content(frame)} cannot cross to another process: {error}") from error
    if len(body) > FRAME_MAX:
        raise BridgeError(f"{_content(frame)} is too large to cross to another process: {len(body)} bytes")
    return HEADER.pack(len(body)) + body


def _content(frame: Frame) -> str:
    value = next((item for item in frame if not isinstance(item, (int, str, type(None)))), frame)
    return type(value).__qualname__
