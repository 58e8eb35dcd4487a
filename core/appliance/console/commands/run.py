"""`appliance run`: a node in the foreground; and `appliance version`."""

from __future__ import annotations

import os
import signal
import socket as stdlib_socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from appliance import __version__
from appliance.control.client import DEFAULT_SOCKET
from appliance.errors import ApplianceError, UsageError
from appliance.plugin import API, Argument, Command, Where

DEFAULT_CONFIG = "/etc/appliance/appliance.toml"
DEFAULT_STATE_DIR = "/var/lib/appliance"
PROBE_TIME_S = 1.0
"""For a node that may be behind the socket to accept a connection."""


def run(config: str, state_dir: str, socket: str | None) -> int:
    """Run a node until it is told to stop (SIGTERM, SIGINT) or cannot go on."""
    config_path, state_path = Path(config), Path(state_dir)
    socket_path = Path(socket or os.environ.get("APPLIANCE_SOCKET") or DEFAULT_SOCKET)
    _check_config(config_path)
    _check_state_dir(state_path)
    _check_socket(socket_path)

    import trio

    from appliance.host.appliance import Appliance

    appliance = Appliance(config_path=config_path, state_dir=state_path, socket=socket_path)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signal, appliance.request_stop)
            await appliance.run()
            nursery.cancel_scope.cancel(reason="the node has stopped")

    try:
        trio.run(main)
    except* ApplianceError as group:
        # Only operator errors are shown as two lines; a bug keeps its traceback for the log.
        first = next(_leaves(group))
        raise first from None
    return 0


async def _stop_on_signal(request_stop: Any) -> None:
    import trio

    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            request_stop(f"signal {signal.Signals(number).name}")


def _leaves(group: BaseExceptionGroup[ApplianceError]) -> Iterator[ApplianceError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _check_config(path: Path) -> None:
    try:
        with path.open("rb"):
            return
    except FileNotFoundError:
        raise UsageError(
            f"the configuration {path} does not exist", hint="Name one with -c FILE, or make one with the wizard."
        ) from None
    except OSError as error:
        raise UsageError(
            f"the configuration {path} cannot be read: {error.strerror}",
            hint="Run as root, or name another with -c FILE.",
        ) from None


def _check_state_dir(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        writable = os.access(path, os.W_OK | os.X_OK)
    except OSError as error:
        raise ApplianceError(
            f"the state directory {path} cannot be made: {error.strerror}",
            hint="Run as root, or choose another with --state-dir.",
        ) from None
    if not writable:
        raise ApplianceError(
            f"the state directory {path} cannot be written", hint="Run as root, or choose another with --state-dir."
        )


def _check_socket(path: Path) -> None:
    """Say it before anything starts; the server checks again when it takes the socket."""
    with stdlib_socket.socket(stdlib_socket.AF_UNIX, stdlib_socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_TIME_S)
        try:
            probe.connect(str(path))
        except (BlockingIOError, TimeoutError):
            pass  # its backlog is full: it lives
        except OSError:
            return
    raise ApplianceError(
        f"a node is already running on {path}",
        hint="Stop it first (`systemctl stop appliance`), or choose another socket with --socket.",
    )


def version() -> dict[str, str]:
    """The installed version."""
    return {"version": __version__, "plugin_api": f"{API.major}.{API.minor}"}


def _render_version(versions: dict[str, str]) -> str:
    return f"appliance {versions['version']} (plugin API {versions['plugin_api']})"


COMMANDS = (
    Command(
        path=("run",),
        help="Run a node in the foreground, in the network namespace this is started in.",
        run=run,
        where=Where.LOCAL,
        arguments=(
            Argument(name="--config", default=DEFAULT_CONFIG, help="the configuration (-c)"),
            Argument(name="--state-dir", default=DEFAULT_STATE_DIR, help="where the node keeps what survives restarts"),
            Argument(name="--socket", help=f"the control socket to make, else {DEFAULT_SOCKET}"),
        ),
    ),
    Command(
        path=("version",),
        help="The installed version; `show version` asks the node.",
        run=version,
        where=Where.LOCAL,
        render=_render_version,
    ),
)
