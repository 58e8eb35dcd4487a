"""Probes one gateway: a raw ICMP socket, a monitor, and a task that carries messages between them.

The socket is bound to the device and to the source address, connected to what it probes, and its packets carry the
gateway's mark, so they leave by this gateway and the kernel delivers nothing but answers from there. It is opened
anew after every error: devices and addresses come and go.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Callable

import trio

from appliance.net.fastpath import system_error
from appliance_gateways import icmp
from appliance_gateways.monitor import Monitor, Reading
from appliance_gateways.settings import GatewaySettings, Target

DRAIN_MAX = 64
"""Answers read at once; nobody sends more than a few a second."""
RECEIVE_MAX = 2048
"""Bytes read of an answer; those to our probes have 44 at most."""

_SO_MARK, _SOL_RAW, _ICMP_FILTER, _ICMP6_FILTER = 36, 255, 1, 1
_PROTOCOL = {4: socket.IPPROTO_ICMP, 6: socket.IPPROTO_ICMPV6}
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_PRIORITY_CONTROL = 7  # TC_PRIO_CONTROL: a full queue must not look like a dead gateway


class Prober:
    """One gateway. `changed` is called whenever its reading may have another status."""

    def __init__(self, settings: GatewaySettings, *, identifier: int, cookie: bytes, changed: Callable[[], None]):
        self.settings = settings
        self.last_error = ""
        """Why the last probe could not be sent."""
        self._identifier, self._cookie, self._changed = identifier, cookie, changed
        self.monitor = Monitor(settings.limits, trio.current_time())
        self._socket: socket.socket | None = None
        self._can_probe = self._has_link = True
        self._is_master = False
        self._wake = trio.Event()
        self._update()

    @property
    def reading(self) -> Reading:
        """What is known of it."""
        return self.monitor.reading

    @property
    def reason(self) -> str:
        """Why nothing is known, or why it is down for another reason than its probes; empty otherwise."""
        target = self.settings.target
        if not self._has_link:
            return f"no link on {self.settings.device}"
        if target is None:
            return "not monitored"
        if self._can_probe:
            return ""
        if target.source is None:
            return f"{self.settings.interface} has no IPv{target.address.version} address to probe from"
        return f"{self.settings.interface} has virtual addresses only, and this node does not hold them"

    # ------------------------------------------------------------------------------------------ told by others

    def follow(self, settings: GatewaySettings) -> None:
        """New settings. The history stays unless the path or the way of probing is another."""
        old, self.settings = self.settings, settings
        if (old.target, old.limits, old.device) != (settings.target, settings.limits, settings.device):
            self.monitor = Monitor(settings.limits, trio.current_time())
            if not self._has_link:
                self.monitor.unplugged()
        if old != settings:
            self._close()
        self._update()

    def link(self, *, up: bool) -> None:
        """The device has a link, or has none."""
        if up != self._has_link:
            self._has_link = up
            if up:
                self.monitor.plugged(trio.current_time())
                if not self._probes:
                    self.monitor.suspend(trio.current_time())
            else:
                self.monitor.unplugged()
        self._close()  # the device may be another one of the same name
        self._update()

    def role(self, *, is_master: bool) -> None:
        """Whether this node holds the virtual address that probes are sent from."""
        self._is_master = is_master
        self._update()

    @property
    def _probes(self) -> bool:
        return self.settings.target is not None and self._can_probe

    def _update(self) -> None:
        target = self.settings.target
        can_probe = target is not None and target.source is not None and (target.vhid is None or self._is_master)
        if can_probe != self._can_probe:
            self._can_probe = can_probe
            self._close()
            if self._has_link:
                self.monitor.suspend(trio.current_time())
        self._wake.set()
        self._changed()

    # ------------------------------------------------------------------------------------------ the task

    async def run(self) -> None:
        """Probe for ever."""
        try:
            while True:
                if not (self._probes and self._has_link):
                    self._wake = trio.Event()
                    await self._wake.wait()
                    continue
                await self._listen_until(self.monitor.next_at)
                now = trio.current_time()
                self.monitor.expire(now)
                sequence = self.monitor.probe(now)
                if sequence is not None:
                    self._send(sequence)
                self._changed()
        finally:
            self._close()

    async def _listen_until(self, deadline: float) -> None:
        """Take answers until then, or until something has changed. What has come before the deadline counts."""
        sock = self._socket
        with trio.move_on_at(deadline):
            if sock is None:
                self._wake = trio.Event()
                await self._wake.wait()
                return
            with contextlib.suppress(trio.ClosedResourceError):
                await trio.lowlevel.wait_readable(sock)
        if self._socket is sock and sock is not None:
            self._drain(sock)

    def _drain(self, sock: socket.socket) -> None:
        for _ in range(DRAIN_MAX):
            try:
                data = sock.recv(RECEIVE_MAX)
            except BlockingIOError:
                return
            except OSError as error:
                self._fail(error)
                return
            echo = icmp.parse_reply(self._version, data)
            if echo is not None and (echo.identifier, echo.payload) == (self._identifier, self._cookie):
                self.monitor.answered(echo.sequence, trio.current_time())

    @property
    def _version(self) -> int:
        assert self.settings.target is not None
        return self.settings.target.address.version

    def _send(self, sequence: int) -> None:
        target = self.settings.target
        assert target is not None
        try:
            if self._socket is None:
                self._socket = open_socket(self.settings, target)
            self._socket.send(icmp.request(self._version, self._identifier, sequence, self._cookie))
        except OSError as error:
            self._fail(error)
            self.monitor.failed(sequence, trio.current_time())
        else:
            self.last_error = ""

    def _fail(self, error: OSError) -> None:
        self.last_error = system_error(error.errno or 0, "a probe cannot be sent").message
        # Errors that routers report (host unreachable) come here, too, and say nothing about the socket itself.
        self._close()

    def _close(self) -> None:
        if self._socket is not None:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
            self._socket = None
        self._wake.set()


def open_socket(gateway: GatewaySettings, target: Target) -> socket.socket:
    """A raw socket for probes of this gateway.

    Raises:
        OSError: A device, an address or a capability is missing, or there is no route yet.
    """
    version = target.address.version
    sock = socket.socket(_FAMILY[version], socket.SOCK_RAW | socket.SOCK_CLOEXEC, _PROTOCOL[version])
    try:
        sock.setblocking(False)
        if version == 4:
            others = 0xFFFFFFFF & ~(1 << icmp.ECHO_REPLY[4])
            sock.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("=I", others))
        else:
            wanted = [0xFFFFFFFF] * 8
            wanted[icmp.ECHO_REPLY[6] >> 5] &= ~(1 << (icmp.ECHO_REPLY[6] & 31))
            sock.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("=8I", *wanted))
        sock.setsockopt(socket.SOL_SOCKET, _SO_MARK, gateway.number)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, _PRIORITY_CONTROL)
        if target.vhid is None:
            # Answers to a virtual address come in at its own device, so those sockets are bound to the address only.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, gateway.device.encode())
        source, scope = target.source, 0
        if target.address.is_link_local:
            scope = socket.if_nametoindex(gateway.device)
        if source is not None and not (target.address.is_link_local and version == 6):
            sock.bind((str(source), 0) if version == 4 else (str(source), 0, 0, 0))
        sock.connect((str(target.address), 0) if version == 4 else (str(target.address), 0, 0, scope))
    except OSError as error:
        sock.close()
        raise OSError(error.errno or errno.EIO, error.strerror) from error
    return sock
