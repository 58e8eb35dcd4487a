"""`appliance factory-defaults`: a machine that knows nothing of its cluster any more, and a copy of what it was."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from appliance.console.commands.run import DEFAULT_CONFIG, DEFAULT_STATE_DIR
from appliance.errors import ApplianceError, RefusedError, UsageError
from appliance.plugin import Argument, Command, Where

Data = dict[str, Any]
COPY = ".before-defaults"
"""Behind the names of what was set aside. One copy is kept, that of the last time."""


def factory_defaults(config: str, state_dir: str, yes: bool) -> Data:
    """Set configuration and state of a node that does not run aside.

    Whatever a node has made or learned is in these two: history, identity, pairing, leases, host keys.

    Raises:
        UsageError: Nobody is there to be asked.
        RefusedError: There is nothing, or somebody said no.
        ApplianceError: The node runs, or the files cannot be moved.
    """
    from appliance.host.statedir import locked_state_dir

    # A link to a folder stays; what it leads to is moved, within its own file system.
    file, state = Path(config).resolve(), Path(state_dir).resolve()
    if not file.exists() and not state.exists():
        raise RefusedError(
            f"there is neither {file} nor {state}", hint="This machine has its defaults; or name them with options."
        )
    if not yes:
        _ask(file, state)
    with locked_state_dir(state):
        # The configuration first: a node that starts after a power failure must not run it with another identity.
        copies = [_set_aside(path) for path in (file, state) if path.exists()]
    return {"copies": copies}


def _ask(file: Path, state: Path) -> None:
    if not sys.stdin.isatty():
        raise UsageError("factory defaults need a yes", hint="Run it on a terminal, or with --yes.")
    sys.stderr.write(f"Configuration ({file}), history, identity and pairing ({state}) are set aside. Go on? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise RefusedError("nothing was changed", hint="Answer `yes` to go on.")


def _set_aside(path: Path) -> str:
    copy = path.with_name(path.name + COPY)
    try:
        if copy.is_dir():
            shutil.rmtree(copy)
        # Renamed, or copied where a layered file system does not rename folders.
        shutil.move(path, copy)
    except OSError as error:
        raise ApplianceError(
            f"{path} cannot be moved to {copy.name}: {error.strerror or error}", hint="Run it as root; see the disk."
        ) from error
    return str(copy)


def _render(data: Data) -> str:
    return "\n".join(
        [
            f"Set aside: {', '.join(data['copies'])} (rename them back to undo it; they hold secrets)",
            "This machine has no configuration and, at its next start, a new identity.",
            "The other node trusts it until `appliance pair remove NAME` there. `appliance wizard` begins anew.",
        ]
    )


COMMANDS = (
    Command(
        path=("factory-defaults",),
        help="Forget configuration, history, identity and pairing of a node that is stopped; a copy is kept.",
        run=factory_defaults,
        where=Where.LOCAL,
        render=_render,
        arguments=(
            Argument(name="--config", default=DEFAULT_CONFIG, help="the configuration (-c)"),
            Argument(name="--state-dir", default=DEFAULT_STATE_DIR, help="where the node keeps what survives restarts"),
            Argument(name="--yes", flag=True, help="do not ask"),
        ),
    ),
)
