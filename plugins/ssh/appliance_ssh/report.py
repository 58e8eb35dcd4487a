"""SSH for people and programs: the answer of ``show ssh``, and one line of status."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from appliance.events import Health, Status
from appliance_ssh.accounts import Installed
from appliance_ssh.server import Session, SshServer
from appliance_ssh.settings import Settings


class Known(Protocol):
    """What the service knows."""

    settings: Settings
    installed: Installed
    sessions: dict[int, Session]
    host_key: str

    @property
    def servers(self) -> Sequence[SshServer]: ...


def status(known: Known) -> Status:
    """Where it listens and who is in, or what is missing."""
    waiting = [f"{each.place.address}: {each.waiting_for}" for each in known.servers if each.waiting_for]
    if waiting:
        return Status(health=Health.WARN, summary=f"not listening on {'; '.join(waiting)}")
    if known.installed.unusable:
        name, why = next(iter(known.installed.unusable.items()))
        return Status(health=Health.WARN, summary=f"{name} cannot log in: {why}")
    where = ", ".join(each.place.address for each in known.servers) or "nothing"
    return Status(summary=f"listening on {where}; {len(known.sessions)} sessions")


def document(known: Known, now: float) -> dict[str, Any]:
    """What ``show ssh --json`` prints.

    Args:
        known: What the service knows.
        now: The present, on the clock of `Session.since`.
    """
    return {
        "host_key": known.host_key,
        "listening": [
            {
                "interface": each.place.interface,
                "address": each.place.address,
                "port": each.place.port,
                "listening": each.port != 0,
                "waiting_for": each.waiting_for or None,
                "sources": [str(network) for network in each.place.sources],
            }
            for each in known.servers
        ],
        "users": [
            {
                "name": each.name,
                "keys": len(each.keys),
                "problem": known.installed.unusable.get(each.name),
            }
            for each in known.settings.accounts
        ],
        "sessions": [
            {
                "number": each.number,
                "user": each.user,
                "source": each.source,
                "interface": each.interface,
                "since": rfc3339(time.time() - (now - each.since)),
                "key": each.key,
            }
            for each in known.sessions.values()
        ],
    }


def rfc3339(wall: float) -> str:
    """A time in seconds since 1970, as text in UTC."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
