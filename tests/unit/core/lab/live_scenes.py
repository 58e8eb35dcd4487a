"""A node of a cluster in use, as far as a drill asks it: it answers what the test says, and rehearses in no time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from appliance.errors import ApplianceError, UsageError
from appliance.lab.live import LiveNode

VIPS = (("lan", 1), ("wan", 200))
HEARD: dict[str, Any] = {"since": "2026-01-31T12:00:00.250Z", "peers": [{"last_seen_ms": 400}]}
FINDINGS = [{"check": "bus", "health": "ok"}, {"check": "gateways-status", "health": "fail"}]


def states(state: str) -> list[dict[str, Any]]:
    return [{"interface": interface, "vhid": vhid, "state": state, **HEARD} for interface, vhid in VIPS]


class Node(LiveNode):
    """fw1, with fw2 beside it.

    Args:
        is_master: Whether it has everything before anything happens.
        follows: Whether the other node takes over.
        returns: Whether it gets everything back.
    """

    def __init__(self, *, is_master: bool = True, follows: bool = True, returns: bool = True) -> None:
        super().__init__("/nowhere")
        self.is_master, self.follows, self.returns = is_master, follows, returns
        self.rehearsed: list[str] = []
        self.happening = ""
        self.lost = False
        self.doctor_fails = 0
        self.other: dict[str, Any] = {"node": "fw2", "fail": 0}
        self.refuses = ""
        self.interrupt_in = ""

    def ask(self, *words: str) -> dict[str, Any]:
        match words:
            case ("show", "carp"):
                return self.show_carp()
            case ("doctor", "--peers"):
                self.doctor_fails, now = max(0, self.doctor_fails - 1), self.doctor_fails
                return {"node": "fw1", "fail": now, "findings": FINDINGS, "peers": [self.other]}
            case ("show", "ha"):
                peers = [{"peer": "fw2", "alive": True, "summary": "BACKUP"}]
                return {"summary": "fw1 is well", "problems": [], "peers": peers}
            case ("show", "dhcp"):
                return self.show_dhcp()
        raise UsageError(f"unknown command {words}", hint="-")

    @property
    def here(self) -> str:
        """What this node is at the moment."""
        if self.happening:
            return "BACKUP"
        is_back = self.returns or not self.rehearsed
        return "MASTER" if self.is_master and is_back else "BACKUP"

    def show_carp(self) -> dict[str, Any]:
        there = "BACKUP" if self.here == "MASTER" or not self.follows else "MASTER"
        return {
            "node": "fw1",
            "enabled": True,
            "maintenance": False,
            "resigned": False,
            "reasons": [{"name": self.happening}] if self.happening else [],
            "vips": states(self.here),
            "nodes": [{"name": "fw2", "alive": not self.lost, "states": states(there)}],
        }

    def show_dhcp(self) -> dict[str, Any]:
        serving = ("serving", "standby") if self.here == "MASTER" else ("standby", "serving")
        pool = {"interface": "lan", "my_state": serving[0], "peer_state": serving[1], "replication": "synchronized"}
        return {"pools": [pool], "leases_total": 3}

    @contextmanager
    def rehearsing(self, name: str) -> Iterator[str]:
        if self.refuses == name:
            raise ApplianceError("no healthy peer would take over", hint="-")
        self.rehearsed.append(name)
        self.happening = name
        try:
            if self.interrupt_in == name:
                raise KeyboardInterrupt
            yield f"{name} has begun"
        finally:
            self.happening = ""
