"""Starts the node while the system around it still starts: ``python -m appliance_images.start``

Loading its modules is most of what a start of the node takes, and needs nothing but the disk. So that comes first, and
then the node waits until `setup` says that configuration, devices, modules and kernel settings are there.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from appliance.console.commands.run import run

CONFIG, STATE = Path("/config/appliance.toml"), Path("/config/state")
READY = Path("/run/appliance-ready")
WAIT_S = 240.0
"""Longest time for the rest of the system, less than systemd gives the node. Then the node tries what it can."""
LOOK_S = 0.05


def main() -> int:
    """Run the node of this machine."""
    return run(os.fspath(CONFIG), os.fspath(STATE), None, "info", prepare=prepare)


def prepare() -> None:
    """Load the plugins, then wait for the rest of the system."""
    load_plugins(CONFIG)
    wait_for(READY)


def load_plugins(config: Path) -> None:
    """Import the plugins that this configuration does not block; what cannot be imported is told later."""
    # With the node, of which `run` has started the processes that load beside it.
    from appliance.config.loader import head, read_file
    from appliance.errors import ApplianceError
    from appliance.host.discovery import discover

    try:
        _, plugins = head(read_file(config), path=os.fspath(config))
    except ApplianceError:
        return
    for found in discover():
        if found.factory is not None and found.name not in plugins.blocked:
            with suppress(Exception):
                found.factory()


def wait_for(ready: Path, *, pause: Callable[[float], None] = time.sleep) -> None:
    """Return when the file is there, or after `WAIT_S`."""
    end = time.monotonic() + WAIT_S
    while not ready.exists() and time.monotonic() < end:
        pause(LOOK_S)


if __name__ == "__main__":
    sys.exit(main())
