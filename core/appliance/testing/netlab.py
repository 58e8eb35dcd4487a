"""Real networks for tests: anonymous namespaces joined by veth pairs and bridges, gone with the test.

Nothing has a name on the machine, so labs run side by side and a crash leaves nothing behind: a namespace
lives only as long as a descriptor, a socket or a process refers to it. Needs root. Time is real here; wait
with `eventually`, and never combine this with an auto-jumping clock, to which a socket looks idle.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TypeVar

from appliance.net.namespace import in_namespace, new_namespace

T = TypeVar("T")

COMMAND_MAX_S = 20
"""No configuration command takes longer, also on a busy machine."""

STOP_MAX_S = 5
"""How long a process of a lab may take to follow SIGTERM before it gets SIGKILL."""


class LabNode:
    """One namespace."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fd = new_namespace()
        self._processes: list[subprocess.Popen[bytes]] = []
        self.run("ip", "link", "set", "lo", "up")

    def inside(self, function: Callable[[], T]) -> T:
        """Call a function in this namespace, in a thread of its own."""
        return in_namespace(self.fd, function)

    def socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_DGRAM, protocol: int = 0) -> socket.socket:
        """A socket that belongs to this namespace; wrap it with `trio.socket.from_stdlib_socket`."""
        return self.inside(lambda: socket.socket(family, kind, protocol))

    def run(self, *argv: str) -> str:
        """Run a command here and return what it printed.

        Raises:
            AssertionError: It failed; says what it printed.
        """
        done = self.inside(lambda: subprocess.run(argv, capture_output=True, timeout=COMMAND_MAX_S, check=False))
        if done.returncode != 0:
            printed = (done.stderr + done.stdout).decode(errors="replace").strip()
            raise AssertionError(f"{' '.join(argv)} failed on {self.name} with {done.returncode}: {printed}")
        return done.stdout.decode(errors="replace")

    def start(self, *argv: str) -> subprocess.Popen[bytes]:
        """Start a process here; it ends with the lab at the latest."""
        process = self.inside(lambda: subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
        self._processes.append(process)
        return process

    def close(self) -> None:
        """Stop what runs here and let go of the namespace."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_MAX_S)
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        os.close(self.fd)


class Netlab:
    """A network under construction; use it as a context manager."""

    def __init__(self) -> None:
        self._nodes: list[LabNode] = []
        self._switches: dict[int, int] = {}

    def __enter__(self) -> Netlab:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for node in self._nodes:
            node.close()

    def node(self, name: str) -> LabNode:
        """A new machine."""
        made = LabNode(name)
        self._nodes.append(made)
        return made

    def switch(self, name: str = "switch") -> LabNode:
        """A new switch: a machine whose ports are bridged and that takes no part itself."""
        made = self.node(name)
        # Without delay: a port forwards at once instead of listening for 2 x 15 s (IEEE 802.1D).
        made.run("ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0")
        made.run("sysctl", "-qw", "net.ipv6.conf.br0.disable_ipv6=1")
        made.run("ip", "link", "set", "br0", "up")
        self._switches[made.fd] = 0
        return made

    def connect(self, node: LabNode, other: LabNode, device: str, addresses: Sequence[str] = ()) -> None:
        """A cable from `node`, where it is called `device`, to a switch or another machine.

        At a switch the other end is ``port0``, ``port1``, …; at a machine it has the same name.

        Args:
            node: One end; gets the addresses.
            other: The other end.
            device: Name of the network device at `node`.
            addresses: With prefix length; usable at once (no duplicate address detection).
        """
        far = device
        if other.fd in self._switches:
            far = f"port{self._switches[other.fd]}"
            self._switches[other.fd] += 1
        place = f"/proc/{os.getpid()}/fd/{other.fd}"
        node.run("ip", "link", "add", device, "type", "veth", "peer", "name", far, "netns", place)
        if other.fd in self._switches:
            other.run("ip", "link", "set", far, "master", "br0")
        self.address(node, device, addresses)
        node.run("ip", "link", "set", device, "up")
        other.run("ip", "link", "set", far, "up")

    def address(self, node: LabNode, device: str, addresses: Sequence[str]) -> None:
        """Give a device addresses, with prefix length."""
        for address in addresses:
            nodad = ("nodad",) if ":" in address else ()
            node.run("ip", "addr", "add", address, "dev", device, *nodad)
