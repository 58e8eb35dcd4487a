"""`appliance run`: a node in the foreground; `appliance version` and `appliance help`."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from appliance import __version__
from appliance.control.client import DEFAULT_SOCKET
from appliance.plugin import API, Argument, Command, Where

DEFAULT_CONFIG = "/etc/appliance/appliance.toml"
DEFAULT_STATE_DIR = "/var/lib/appliance"
UP_FACTS = Path("/run/appliance-up")
"""Where an image says how long after the start of its kernel the node was up, in seconds."""
LOG_LEVELS = ("debug", "info", "warning", "error")


def run(
    config: str, state_dir: str, socket: str | None, log_level: str, *, prepare: Callable[[], None] | None = None
) -> int:
    """Run a node until it is told to stop (SIGTERM, SIGINT) or cannot go on.

    What the system may want to do first, such as waiting, is done by `prepare` when the node is loaded and has not yet
    read its configuration.
    """
    # A sixth of a start was spent on looking for garbage among modules, of which there is none; on again once it is up.
    gc.disable()
    try:
        _run(config, state_dir, socket, log_level, prepare)
    finally:
        gc.enable()
    return 0


def _run(config: str, state_dir: str, socket: str | None, log_level: str, prepare: Callable[[], None] | None) -> None:
    from appliance.host.discovery import discover
    from appliance.host.spares import loading_ahead

    found, path = discover(), Path(config)
    with loading_ahead(found, path) as spares:
        # Only this command needs the whole node, and its services load meanwhile.
        import trio

        from appliance.host.appliance import Appliance

        if prepare is not None:
            prepare()
        appliance = Appliance(
            config_path=path,
            state_dir=Path(state_dir),
            socket=Path(socket or os.environ.get("APPLIANCE_SOCKET") or DEFAULT_SOCKET),
            found=found,
            log_level=log_level,
            spares=spares,
        )
        trio.run(partial(appliance.run, handle_signals=True))


def version() -> dict[str, Any]:
    """The installed version, and on an image how long its start took."""
    try:
        up_s: float | None = float(UP_FACTS.read_text())
    except (OSError, ValueError):
        up_s = None
    return {"version": __version__, "plugin_api": f"{API.major}.{API.minor}", "up_after_s": up_s}


def help_for(words: tuple[str, ...]) -> str:
    """Help for a command or a prefix of commands; nothing of it needs a running node."""
    from appliance.console.local import everything

    return everything().help(words)


def _render_version(versions: dict[str, Any]) -> str:
    line = f"appliance {versions['version']} (plugin API {versions['plugin_api']})"
    if versions["up_after_s"] is None:
        return line
    return f"{line}\nthe node could become MASTER {versions['up_after_s']:.1f} s after the kernel was started"


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
            Argument(
                name="--log-level", default="info", choices=LOG_LEVELS, help="the least important level that is logged"
            ),
        ),
    ),
    Command(
        path=("version",),
        help="The installed version; `show version` asks the node.",
        run=version,
        where=Where.LOCAL,
        render=_render_version,
    ),
    Command(
        path=("help",),
        help="Every command, or one.",
        run=help_for,
        where=Where.LOCAL,
        arguments=(Argument(name="words...", help="the command, or its first words"),),
    ),
)
