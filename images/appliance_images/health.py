"""Whether the running system is healthy: then it stays, else the machine goes back to the other one."""

from __future__ import annotations

import select
import time
from pathlib import Path
from typing import Any

from appliance.control import client, wire
from appliance.errors import ApplianceError
from appliance.events import Role
from appliance_images import grubenv
from appliance_images.slots import Machine
from appliance_images.tools import run

CONFIG = Path("/config/appliance.toml")
CONSOLE_UNITS = ("appliance-console@ttyS0.service", "appliance-console@tty1.service")
RUNNING = "running"
"""State of a service that does its work."""
PATIENCE_S = 240.0
"""Until a system has to be healthy: services may need a second attempt, and roles are taken after some heartbeats."""
STABLE_S = 15.0
"""How long it has to stay healthy: a service that crashes again and again runs in between."""
LOOK_S = 3.0


def settled(
    config: Path = CONFIG,
    socket: str = client.DEFAULT_SOCKET,
    *,
    patience_s: float = PATIENCE_S,
    stable_s: float = STABLE_S,
) -> list[str]:
    """What is still wrong when the patience is over; empty as soon as the system has been healthy for a while."""
    end = time.monotonic() + patience_s
    since: float | None = None
    while True:
        found, now = problems(config, socket), time.monotonic()
        since = (since or now) if not found else None
        if (since is not None and now - since >= stable_s) or (found and now >= end):
            return found
        select.select([], [], [], LOOK_S)  # this program has nothing else to do


def problems(config: Path = CONFIG, socket: str = client.DEFAULT_SOCKET) -> list[str]:
    """What is wrong with the running system; empty when it is healthy.

    A machine without configuration is healthy when it has a console: more it cannot do.
    """
    found = [] if any(is_active(unit) for unit in CONSOLE_UNITS) else ["no console runs"]
    if not config.exists():
        return found
    try:
        return [*found, *down(answer(socket, ["show", "services"])), *without_role(answer(socket, ["show", "ha"]))]
    except ApplianceError as error:
        return [*found, f"the node does not answer: {error.message}"]


def down(services: Any) -> list[str]:
    """Services that do not do their work, of ``show services``."""
    return [
        f"service {row['name']} is {row['state']}" + (f": {row['error']}" if row["error"] else "")
        for row in services
        if row["state"] != RUNNING
    ]


def without_role(ha: Any) -> list[str]:
    """Virtual hosts that are neither MASTER nor BACKUP although their interface is connected, of ``show ha``."""
    unplugged = {link["interface"] for link in ha["links"] if not link["up"]}
    return [
        f"virtual host {vip['vhid']} on {vip['interface']} has no role: {vip['reason']}"
        for vip in ha["vips"]
        if vip["state"] == Role.INIT and vip["interface"] not in unplugged
    ]


def is_active(unit: str) -> bool:
    """Whether a unit of systemd runs."""
    try:
        run("systemctl", "is-active", "--quiet", unit, timeout_s=20)
    except ApplianceError:
        return False
    return True


def answer(socket: str, words: list[str]) -> object:
    """Data that the node answers to a command."""
    for reply in client.request(socket, words, json=True, width=0):
        if isinstance(reply, wire.Data):
            return reply.data
        if isinstance(reply, wire.Failure):
            raise ApplianceError(reply.message, hint=reply.hint)
    raise ApplianceError(f"the node answered nothing to `{' '.join(words)}`", hint="See its log.")


def must_go_back(machine: Machine) -> bool:
    """Whether a sick system has to leave: it is on trial, and there is another one that may boot."""
    state = machine.boot_state()
    on_trial = state.order.startswith(machine.slot) and state.boots_left(machine.slot) < grubenv.GOOD_BOOTS - 1
    return on_trial and state.boots_left(grubenv.other(machine.slot)) > 0
