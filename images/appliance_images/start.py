"""Starts the node while the system around it still starts: ``python -m appliance_images.start``

Loading its modules is most of what a start of the node takes, and needs nothing but the disk. So that comes first, and
then the node waits until `setup` says that configuration, devices, modules and kernel settings are there.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from appliance.console.commands.run import run

CONFIG, STATE = Path("/config/appliance.toml"), Path("/config/state")
READY = Path("/run/appliance-ready")
WAIT_S = 240.0
"""Longest time for the rest of the system, less than systemd gives the node. Then the node tries what it can."""
LOOK_S = 0.05


def main() -> int:
    """Run the node of this machine."""
    return run(os.fspath(CONFIG), os.fspath(STATE), None, "info", prepare=partial(wait_for, READY))


def wait_for(ready: Path, *, pause: Callable[[float], None] = time.sleep) -> None:
    """Return when the file is there, or after `WAIT_S`."""
    end = time.monotonic() + WAIT_S
    while not ready.exists() and time.monotonic() < end:
        pause(LOOK_S)


if __name__ == "__main__":
    sys.exit(main())
