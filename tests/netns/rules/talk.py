"""Connections between machines of a lab, made and held by the test itself: who sees whom, and who still talks.

A socket that was made inside of a namespace stays there, so one process plays all machines.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from appliance.lab import Lab, netns

CONNECT_S = 5.0
"""A lost SYN is repeated after 1 s and 3 s."""
ANSWER_S = 8.0
"""TCP repeats what was lost after 0.2, 0.4, 0.8, 1.6 and 3.2 s."""
BLOCKED_S = 1.2
"""Without an answer after one repetition nobody is there."""
ANY = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}


class End(NamedTuple):
    """An address and a port."""

    address: str
    port: int


def family_of(address: str) -> socket.AddressFamily:
    """By the form of an address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def opened(lab: Lab, role: str, kind: socket.SocketKind, bind: tuple[str, int]) -> socket.socket:
    """A bound socket of a machine."""

    def make() -> socket.socket:
        with ExitStack() as stack:
            made = stack.enter_context(socket.socket(family_of(bind[0]), kind))
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(bind)
            stack.pop_all()
            return made

    return netns.inside(lab.topology.namespace(role), make)


@contextmanager
def listening(lab: Lab, role: str, port: int = 0, *, family: int = 4) -> Iterator[socket.socket]:
    """A machine that accepts TCP connections."""
    address = ANY[socket.AF_INET6 if family == 6 else socket.AF_INET]
    with opened(lab, role, socket.SOCK_STREAM, (address, port)) as made:
        made.listen(256)
        yield made


@dataclass(slots=True)
class Call:
    """A TCP connection, both ends in our hands."""

    caller: socket.socket
    called: socket.socket
    seen: End
    """Who the called machine believes it talks to."""
    reached: End
    """Which of its addresses and ports was called, after all translation."""

    def is_alive(self, deadline_s: float = ANSWER_S) -> bool:
        """Whether both ends hear each other."""
        return _passes(self.caller, self.called, deadline_s) and _passes(self.called, self.caller, deadline_s)

    def close(self) -> None:
        """Both ends, without a farewell on the wire that later tests would see."""
        for each in (self.caller, self.called):
            with suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            each.close()


def _passes(sender: socket.socket, receiver: socket.socket, deadline_s: float) -> bool:
    word = time.monotonic_ns().to_bytes(8, "big")
    receiver.settimeout(deadline_s)
    try:
        sender.sendall(word)
        return receiver.recv(len(word), socket.MSG_WAITALL) == word
    except OSError:
        return False


def call(
    lab: Lab,
    source: str,
    address: str,
    *,
    target: str,
    port: int = 0,
    target_port: int | None = None,
    bind: str = "",
    sport: int = 0,
    wait_s: float = CONNECT_S,
) -> Call:
    """One machine calls another by TCP.

    Args:
        lab: Where.
        source: Who calls.
        address: Whom, as the caller knows it.
        target: The machine that answers in the end.
        port: Port that is called; 0: any that is free at the target.
        target_port: Port at which the target listens, when a forward changes it.
        bind: Address the caller uses; empty: what its routes say.
        sport: The caller's port; 0: any.
        wait_s: For how long.

    Raises:
        OSError: Nobody answers in time, or somebody refuses.
    """
    family = family_of(address)
    with (
        listening(
            lab, target, port if target_port is None else target_port, family=6 if family == socket.AF_INET6 else 4
        ) as server,
        ExitStack() as stack,
    ):
        caller = stack.enter_context(opened(lab, source, socket.SOCK_STREAM, (bind or ANY[family], sport)))
        caller.settimeout(wait_s)
        caller.connect((address, port or server.getsockname()[1]))
        server.settimeout(wait_s)
        called, seen = server.accept()
        for each in (caller, called):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stack.pop_all()
        reached = called.getsockname()
        return Call(caller, called, End(*seen[:2]), End(*reached[:2]))


def seen_as(
    lab: Lab, source: str, address: str, *, target: str, port: int = 0, bind: str = "", wait_s: float = CONNECT_S
) -> str:
    """The address as which a caller is seen."""
    made = call(lab, source, address, target=target, port=port, bind=bind, wait_s=wait_s)
    made.close()
    return made.seen.address


def is_reached(lab: Lab, source: str, address: str, *, target: str, port: int, bind: str = "") -> bool:
    """Whether a TCP connection comes about within the time of a repeated SYN."""
    try:
        call(lab, source, address, target=target, port=port, bind=bind, wait_s=BLOCKED_S).close()
    except OSError:
        return False
    return True


def datagram_seen_as(
    lab: Lab, source: str, address: str, *, target: str, port: int, sport: int = 0, wait_s: float = CONNECT_S
) -> End | None:
    """Who sent a datagram, as the target sees it, which answers it; ``None`` when one of the two did not arrive."""
    family = family_of(address)
    with (
        opened(lab, target, socket.SOCK_DGRAM, (ANY[family], port)) as server,
        opened(lab, source, socket.SOCK_DGRAM, (ANY[family], sport)) as client,
    ):
        for each in (server, client):
            each.settimeout(wait_s)
        client.sendto(b"question", (address, port))
        try:
            _, seen = server.recvfrom(100)
            server.sendto(b"answer", seen)
            client.recv(100)
        except OSError:
            return None
        return End(*seen[:2])


def pings(lab: Lab, source: str, address: str, *, wait_s: int = 3) -> bool:
    """Whether an echo request is answered; one that is lost while addresses are resolved is repeated."""
    argv = ["ping", "-6" if ":" in address else "-4", "-n", "-c", "1", "-i", "0.2", "-w", str(wait_s), address]
    return lab.exec(source, *argv, check=False).returncode == 0


@dataclass(slots=True)
class Calls:
    """Several calls that are held open."""

    made: dict[str, Call] = field(default_factory=dict)

    @property
    def dead(self) -> list[str]:
        """Names of those whose ends do not hear each other any more."""
        return [name for name, each in self.made.items() if not each.is_alive()]


@contextmanager
def held(calls: Iterable[tuple[str, Call]]) -> Iterator[Calls]:
    """Calls that stay open as long as the block; each has spoken once."""
    made: dict[str, Call] = {}
    try:
        for name, each in calls:
            made[name] = each
        found = Calls(made)
        assert found.dead == [], "before anything happened"
        yield found
    finally:
        for each in made.values():
            each.close()
