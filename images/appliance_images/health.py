"""Whether the running system is healthy: then it stays, else the machine goes back to the other one."""

from __future__ import annotations

from pathlib import Path

from appliance.control import client, wire
from appliance.errors import ApplianceError
from appliance_images import grubenv
from appliance_images.slots import Machine
from appliance_images.tools import run

CONFIG = Path("/config/appliance.toml")
CONSOLE_UNITS = ("appliance-console@ttyS0.service", "appliance-console@tty1.service")
DOWN = frozenset({"back-off", "failed"})
"""States of a service that does not do its work."""


def problems(config: Path = CONFIG, socket: str = client.DEFAULT_SOCKET) -> list[str]:
    """What is wrong with the running system; empty when it is healthy.

    A machine without configuration is healthy when it has a console: more it cannot do.
    """
    found = [] if any(is_active(unit) for unit in CONSOLE_UNITS) else ["no console runs"]
    if not config.exists():
        return found
    try:
        services = answer(socket, ["show", "services"])
    except ApplianceError as error:
        return [*found, f"the node does not answer: {error.message}"]
    down = [row for row in services if row.get("state") in DOWN]
    return [*found, *(f"service {row['service']} is down: {row.get('error') or row['state']}" for row in down)]


def is_active(unit: str) -> bool:
    """Whether a unit of systemd runs."""
    try:
        run("systemctl", "is-active", "--quiet", unit, timeout_s=20)
    except ApplianceError:
        return False
    return True


def answer(socket: str, words: list[str]) -> list[dict[str, object]]:
    """Rows that the node answers to a command."""
    for reply in client.request(socket, words, json=True, width=0):
        if isinstance(reply, wire.Data) and isinstance(reply.data, list):
            return reply.data
        if isinstance(reply, wire.Failure):
            raise ApplianceError(reply.message, hint=reply.hint)
    raise ApplianceError(f"the node answered nothing to `{' '.join(words)}`", hint="See its log.")


def must_go_back(machine: Machine) -> bool:
    """Whether a sick system has to leave: it is on trial, and there is another one that may boot."""
    state = machine.boot_state()
    on_trial = state.order.startswith(machine.slot) and state.boots_left(machine.slot) < grubenv.GOOD_BOOTS - 1
    return on_trial and state.boots_left(grubenv.other(machine.slot)) > 0
