"""The sync interface as pfsync sees it: raw sockets of IP protocol 240, bound to one device.

What arrives with a TTL (hop limit) other than 255 came over a router and is refused, as in BSD's pfsync(4);
the binding to the device refuses what came in elsewhere.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address

import trio

from appliance.errors import KernelError
from appliance.net.fastpath import enlarge_receive_buffer
from appliance_pfsync.settings import PfsyncSettings

PROTOCOL = 240
"""IPPROTO_PFSYNC; not assigned by IANA, used by all BSDs."""
TTL = 255
TOS = 0x10
"""IPTOS_LOWDELAY, as pfsync(4) sends."""
RECEIVE_BYTES = 64 << 20
"""A second of the peer's bulk at full speed may wait here while this process does something else."""
SEND_BYTES = 16 << 20
DATAGRAM_MAX = 65536
_IP_MTU_DISCOVER, _IP_PMTUDISC_DO = 10, 2
_SO_SNDBUFFORCE = 32


@dataclass(slots=True)
class LinkCounters:
    """Datagrams by their names in pfsync(4), of both families."""

    ipackets: int = 0
    """Taken from the socket, whatever became of them."""
    opackets: int = 0
    """The kernel took them; to several unicast peers each is one."""
    badttl: int = 0
    """Came over a router."""
    oerrors: int = 0
    """The kernel did not take them."""


@dataclass(slots=True)
class SyncLink:
    """The open socket of the sync interface; `open` again after its device was replaced."""

    settings: PfsyncSettings
    counters: LinkCounters = field(default_factory=LinkCounters)
    index: int = 0
    _socket: socket.socket | None = None

    def open(self) -> None:
        """Open the socket.

        Raises:
            KernelError: The device does not exist, or the process lacks CAP_NET_RAW.
        """
        self.close()
        device = self.settings.device
        try:
            self.index = socket.if_nametoindex(device)
            opened = socket.socket(self._family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, PROTOCOL)
            try:
                self._set_up(opened)
            except BaseException:
                opened.close()
                raise
        except PermissionError as error:
            raise KernelError("pfsync may not open raw sockets", hint="Run the node as root.") from error
        except OSError as error:
            raise KernelError(
                f"pfsync cannot use {device}: {error.strerror or error}",
                hint=f"Check [interfaces.{self.settings.interface}] and that the device exists and is up.",
            ) from error
        self._socket = opened

    @property
    def _family(self) -> socket.AddressFamily:
        return socket.AF_INET if self.settings.family == 4 else socket.AF_INET6

    def _set_up(self, opened: socket.socket) -> None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self.settings.device.encode())
        enlarge_receive_buffer(opened, RECEIVE_BYTES)
        with contextlib.suppress(OSError):  # without CAP_NET_ADMIN the default has to do
            opened.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, SEND_BYTES)
        if self.settings.family == 4:
            group = struct.pack("=4s4si", socket.inet_aton(self.settings.group), bytes(4), self.index)
            ip = socket.IPPROTO_IP
            opened.setsockopt(ip, socket.IP_ADD_MEMBERSHIP, group)
            opened.setsockopt(ip, socket.IP_MULTICAST_IF, struct.pack("=4s4si", bytes(4), bytes(4), self.index))
            opened.setsockopt(ip, socket.IP_MULTICAST_LOOP, 0)
            opened.setsockopt(ip, socket.IP_MULTICAST_TTL, TTL)
            opened.setsockopt(ip, socket.IP_TTL, TTL)
            opened.setsockopt(ip, socket.IP_TOS, TOS)
            opened.setsockopt(ip, _IP_MTU_DISCOVER, _IP_PMTUDISC_DO)
        else:
            group = socket.inet_pton(socket.AF_INET6, self.settings.group) + struct.pack("=I", self.index)
            ipv6 = socket.IPPROTO_IPV6
            opened.setsockopt(ipv6, socket.IPV6_JOIN_GROUP, group)
            opened.setsockopt(ipv6, socket.IPV6_MULTICAST_IF, self.index)
            opened.setsockopt(ipv6, socket.IPV6_MULTICAST_LOOP, 0)
            opened.setsockopt(ipv6, socket.IPV6_MULTICAST_HOPS, TTL)
            opened.setsockopt(ipv6, socket.IPV6_UNICAST_HOPS, TTL)
            opened.setsockopt(ipv6, socket.IPV6_RECVHOPLIMIT, 1)

    @property
    def is_current(self) -> bool:
        """Whether the socket is open on the device that has the name now."""
        if self._socket is None:
            return False
        try:
            return socket.if_nametoindex(self.settings.device) == self.index
        except OSError:
            return False

    def fileno(self) -> int:
        """The file descriptor; -1 while closed."""
        return -1 if self._socket is None else self._socket.fileno()

    def close(self) -> None:
        """Close the socket and wake whoever waits for it."""
        if self._socket is not None:
            with contextlib.suppress(RuntimeError):  # outside of trio nobody waits
                trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
        self._socket, self.index = None, 0

    def drain(self, limit: int) -> Iterator[tuple[bytes, str]]:
        """Up to `limit` datagrams that wait, with their source addresses."""
        for _ in range(limit):
            if self._socket is None:
                return
            try:
                taken = self._take4() if self.settings.family == 4 else self._take6()
            except BlockingIOError:
                return
            except OSError:  # the device is down or gone: `open` will tell
                return
            if taken is not None:
                yield taken

    def _take4(self) -> tuple[bytes, str] | None:
        assert self._socket is not None
        packet, address = self._socket.recvfrom(DATAGRAM_MAX)
        self.counters.ipackets += 1
        if packet[8] != TTL:
            self.counters.badttl += 1
            return None
        return packet[(packet[0] & 0xF) * 4 :], address[0]

    def _take6(self) -> tuple[bytes, str] | None:
        assert self._socket is not None
        payload, control, _, address = self._socket.recvmsg(DATAGRAM_MAX, 64)
        self.counters.ipackets += 1
        hops = next((int.from_bytes(data, "little") for _, kind, data in control if kind == socket.IPV6_HOPLIMIT), 0)
        if hops != TTL:
            self.counters.badttl += 1
            return None
        return payload, address[0]

    def send(self, datagram: bytes, destination: str) -> bool:
        """Send to one address, or to everybody when it is empty; whether the kernel took it."""
        sent = True
        for each in (destination,) if destination else self.settings.destinations:
            sent &= self._send(datagram, each)
        return sent

    def _send(self, datagram: bytes, destination: str) -> bool:
        if self._socket is None:
            return False
        try:
            if self.settings.family == 4:
                self._socket.sendto(datagram, (destination, 0))
            else:
                scope = self.index if ip_address(destination).is_link_local or destination.startswith("ff") else 0
                self._socket.sendto(datagram, (destination, 0, 0, scope))
        except OSError:  # a full buffer or a device that is down: the protocol sends again what matters
            self.counters.oerrors += 1
            return False
        self.counters.opackets += 1
        return True
