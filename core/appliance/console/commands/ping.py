"""`appliance ping HOST`: whether a host answers this machine, by the system's own program."""

from __future__ import annotations

import subprocess

from appliance.console.menu.menu import host as checked
from appliance.errors import ApplianceError, UsageError
from appliance.plugin import Argument, Command, Where

COUNT, COUNT_MAX = 5, 10_000
INTERRUPTED = 130


def ping(host: str, count: int) -> int:
    """Print what `ping` prints; its exit status: 0 when there was an answer."""
    if not 1 <= count <= COUNT_MAX:
        raise UsageError(f"--count has to be between 1 and {COUNT_MAX}", hint="Ctrl-C ends it earlier.")
    try:
        return subprocess.run(["ping", "-c", str(count), checked(host)], check=False).returncode
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        raise ApplianceError(
            f"ping cannot be run: {error.strerror}", hint="Install the package iputils-ping."
        ) from None


COMMANDS = (
    Command(
        path=("ping",),
        help="Ask a host for an answer (ICMP echo), from this machine.",
        run=ping,
        where=Where.LOCAL,
        arguments=(
            Argument(name="host", required=True, help="an address or a name"),
            Argument(name="--count", type=int, default=COUNT, help="requests, one a second"),
        ),
    ),
)
