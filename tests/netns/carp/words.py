"""What the nodes of a lab say about themselves, in the few forms that tests ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from appliance.control import wire
from appliance.control.client import request
from appliance.errors import ApplianceError
from appliance.lab import Lab
from appliance.lab.waiting import LabTimeoutError, describe, wait_until

Row = dict[str, Any]


def stream(lab: Lab, node: str, *argv: str) -> list[Any]:
    """Everything that a command answers, for commands that answer more than once."""
    found = []
    for reply in request(lab.socket(node), argv, json=True):
        if isinstance(reply, wire.Failure):
            raise ApplianceError(reply.message, hint=reply.hint)
        if isinstance(reply, wire.Data):
            found.append(reply.data)
    return found


def carp(lab: Lab, node: str) -> Row:
    """``show carp``."""
    return dict(lab.request(node, "show", "carp"))


def vip(lab: Lab, node: str, name: str = "lan") -> Row:
    """One virtual host of ``show carp``."""
    return next(each for each in carp(lab, node)["vips"] if each["name"] == name)


def state(lab: Lab, node: str, name: str = "lan") -> str:
    return str(vip(lab, node, name)["state"])


def counter(lab: Lab, node: str, key: str, name: str = "lan") -> int:
    """One counter of a virtual host."""
    return int(vip(lab, node, name)["counters"][key])


def alarms(lab: Lab, node: str) -> dict[str, Row]:
    """Standing alarms by key."""
    rows = [row for answer in stream(lab, node, "show", "alarms") for row in answer]
    return {row["key"]: row for row in rows}


def wait_alarm(lab: Lab, node: str, key: str, deadline_s: float = 5.0) -> Row:
    """Until this alarm stands; what it says."""
    with suppress(LabTimeoutError):
        wait_until(lambda: key in alarms(lab, node), key, deadline_s)
    standing = alarms(lab, node)
    assert key in standing, f"{node} has only {sorted(standing)}"
    return standing[key]


def events(lab: Lab, node: str, kind: str, *, after: int = 0) -> list[Row]:
    """Recorded events of one type, oldest first; each with ``seq``, ``monotonic``, ``wall`` and ``event``."""
    rows = stream(lab, node, "events", "--type", kind, "--count", "1000")
    return [row for row in rows if row["seq"] > after]


def last_seq(lab: Lab, node: str) -> int:
    """The number of the newest recorded event."""
    return int(stream(lab, node, "events", "--count", "1")[-1]["seq"])


def heartbeat(lab: Lab, node: str) -> Row:
    """The heartbeat service of ``show services``."""
    rows = [row for answer in stream(lab, node, "show", "services") for row in answer]
    return next(row for row in rows if row["plugin"] == "carp")


def standing(lab: Lab) -> dict[str, Any]:
    """What must not change when nothing should: roles, number of transitions, process of the service."""
    found: dict[str, Any] = {}
    for node, seen in lab.view().items():
        vips: Sequence[Mapping[str, Any]] = seen["vips"]  # type: ignore[assignment]
        for each in vips:
            found[f"{node} {each['name']}"] = (each["state"], each["counters"]["transitions"])
        service = heartbeat(lab, node)
        found[f"{node} service"] = (service["pid"], service["restarts"])
    return found


@contextmanager
def undisturbed(lab: Lab) -> Iterator[None]:
    """Nothing that happens in this block may move a role, not even for a moment, or restart the service."""
    before = standing(lab)
    yield
    assert standing(lab) == before, describe(lab.view())


def neighbour(lab: Lab, role: str, address: str) -> str:
    """The MAC address a machine has for a neighbour; empty when it has none."""
    shown = lab.exec(role, "ip", "-o", "neigh", "show", address).stdout.split()
    return shown[shown.index("lladdr") + 1] if "lladdr" in shown else ""


def pings(lab: Lab, role: str, address: str, *, wait_s: float = 0.5) -> bool:
    """Whether an address answers a machine."""
    return lab.exec(role, "ping", "-c", "1", "-W", str(wait_s), address, check=False).returncode == 0
