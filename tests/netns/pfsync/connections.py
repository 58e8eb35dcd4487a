"""Connections of every kind through the firewalls, held open over a failover."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from appliance.errors import ApplianceError
from appliance.lab import Lab, netns, probes
from appliance.lab.measure import ProbeKind, ProbeResult
from appliance.lab.probe import ECHO_PORT
from tests.netns.pfsync.natrules import SERVER4, VIP4, VIP6

SECONDS_MAX = 60.0
ANSWER_S = 8.0
"""TCP repeats what was lost after 0.2, 0.4, 0.8 … s: an established connection has spoken long before."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of connection and the way it takes through the firewalls."""

    name: str
    probe: ProbeKind
    source: str = "client"
    target: str = "server"
    family: int = 4
    address: str = ""


KINDS = (
    Kind("download through SNAT", ProbeKind.DOWNLOAD),
    Kind("shell through SNAT", ProbeKind.INTERACTIVE),
    Kind("UDP stream through SNAT", ProbeKind.UDP),
    Kind("ping through SNAT", ProbeKind.PING),
    Kind("upload through a port forward", ProbeKind.DOWNLOAD, "server", "client", 4, VIP4),
    Kind("shell through SNAT, IPv6", ProbeKind.INTERACTIVE, family=6),
    Kind("UDP stream through SNAT, IPv6", ProbeKind.UDP, family=6),
    Kind("shell through a port forward, IPv6", ProbeKind.INTERACTIVE, "server", "client", 6, VIP6),
)


@dataclass(slots=True)
class Connections:
    """What is open."""

    running: dict[str, probes.RunningProbe]
    idle: socket.socket
    results: dict[str, ProbeResult] = field(default_factory=dict)
    idle_survived: bool = False

    def stop(self) -> None:
        """End all of them; the silent one speaks for the first time."""
        self.idle_survived = answers(self.idle)
        self.results = {name: probe.stop() for name, probe in self.running.items()}

    @property
    def lost(self) -> list[str]:
        """Names of those that did not survive."""
        dead = [f"{name}: {result.sentence()}" for name, result in self.results.items() if not result.survived]
        return dead if self.idle_survived else [*dead, "the idle connection"]


@contextmanager
def opened(lab: Lab, seconds: float = SECONDS_MAX) -> Iterator[Connections]:
    """Connections of every kind, all of them flowing."""
    with ExitStack() as stack:
        running = {
            kind.name: stack.enter_context(
                probes.start(
                    lab,
                    kind.probe,
                    seconds=seconds,
                    source=kind.source,
                    target=kind.target,
                    family=kind.family,
                    address=kind.address,
                )
            )
            for kind in KINDS
        }
        for probe in running.values():
            probe.wait_flowing()
        yield Connections(running, stack.enter_context(idle_connection(lab)))


def idle_connection(lab: Lab) -> socket.socket:
    """A connection of the client through SNAT that has spoken once."""

    probes.ensure_server(lab, "server", "tcp")

    def connect() -> socket.socket:
        made = socket.create_connection((SERVER4, ECHO_PORT), timeout=ANSWER_S)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    made = netns.inside(lab.topology.namespace("client"), connect)
    assert answers(made)
    return made


def answers(connection: socket.socket) -> bool:
    """Whether the far end of an echo connection answers."""
    connection.settimeout(ANSWER_S)
    word = str(time.monotonic_ns()).encode()
    try:
        connection.sendall(word)
        return connection.recv(len(word), socket.MSG_WAITALL) == word
    except OSError:
        return False


def replicated(lab: Lab, node: str) -> int:
    """How many states of a node are replicated; -1 while it, or its service, is being started."""
    try:
        return int(lab.request(node, "states", "count")["replicated"])
    except ApplianceError:
        return -1


def pfsync(lab: Lab, node: str) -> dict[str, Any]:
    """``show pfsync`` of a node."""
    return lab.request(node, "show", "pfsync")
