"""Network segments between virtual machines: every frame goes to all other ports. Nothing touches the host's network.

A port is a pair of Unix datagram sockets, one frame a datagram, as qemu's ``dgram`` network back end speaks it.
Segments can be cut per machine, and whoever tests can be a station itself.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterable
from pathlib import Path

FRAME_MAX = 65536
BUFFER_BYTES = 1 << 20
"""Of a socket: a machine that does not read for a moment loses nothing."""
TICK_S = 0.2


class Segment:
    """One broadcast domain."""

    def __init__(self, folder: Path, name: str, machines: Iterable[str]) -> None:
        self.name = name
        self.cut: set[str] = set()
        """Machines whose cable is unplugged."""
        self.frames = 0
        self._ports: dict[str, socket.socket] = {}
        self._paths: dict[str, tuple[Path, Path]] = {}
        for machine in machines:
            self._open(folder, machine)

    def _open(self, folder: Path, machine: str) -> None:
        hub_side, machine_side = folder / f"{self.name}-{machine}.hub", folder / f"{self.name}-{machine}.vm"
        hub_side.unlink(missing_ok=True)
        port = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        port.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        port.bind(str(hub_side))
        self._ports[machine], self._paths[machine] = port, (hub_side, machine_side)

    def netdev(self, machine: str, identity: str) -> str:
        """What qemu is told about this machine's port."""
        hub_side, machine_side = self._paths[machine]
        local, remote = f"local.type=unix,local.path={machine_side}", f"remote.type=unix,remote.path={hub_side}"
        return f"dgram,id={identity},{local},{remote}"

    def station(self, name: str) -> socket.socket:
        """A port for a program here: a socket that sends and receives frames."""
        hub_side, own_side = self._paths[name]
        own_side.unlink(missing_ok=True)
        own = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        own.bind(str(own_side))
        own.connect(str(hub_side))
        return own

    def ports(self) -> dict[str, socket.socket]:
        """The hub's side of every port."""
        return self._ports

    def forward(self, source: str) -> None:
        """Pass on what waits at one port."""
        with contextlib.suppress(BlockingIOError):
            while True:
                frame = self._ports[source].recv(FRAME_MAX)
                self.frames += 1
                if source not in self.cut:
                    self._flood(source, frame)

    def _flood(self, source: str, frame: bytes) -> None:
        for machine, port in self._ports.items():
            if machine != source and machine not in self.cut:
                # A machine that is off or does not keep up loses frames, as on a cable.
                with contextlib.suppress(OSError):
                    port.sendto(frame, str(self._paths[machine][1]))

    def close(self) -> None:
        """Close every port."""
        for port in self._ports.values():
            port.close()
        for paths in self._paths.values():
            for path in paths:
                path.unlink(missing_ok=True)


class Hub:
    """Forwards on all segments, in a thread of its own, until closed."""

    def __init__(self, segments: Iterable[Segment]) -> None:
        self.segments = {segment.name: segment for segment in segments}
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hub", daemon=True)

    def __enter__(self) -> Hub:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        for segment in self.segments.values():
            segment.close()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            for segment in self.segments.values():
                for machine, port in segment.ports().items():
                    selector.register(port, selectors.EVENT_READ, (segment, machine))
            while not self._is_over.is_set():
                for key, _ in selector.select(TICK_S):
                    segment, machine = key.data
                    segment.forward(machine)
