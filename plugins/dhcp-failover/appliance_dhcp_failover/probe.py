"""Whether Kea can hear clients: its sockets as the kernel shows them, because Kea itself says "running" without any.

Kea in raw mode has a packet socket on the device, and a UDP socket that reserves the port (src/lib/dhcp,
``pkt_filter_lpf``). Both have to be there.
"""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address
from pathlib import Path

PACKET, UDP = Path("/proc/self/net/packet"), Path("/proc/self/net/udp")
SERVER_PORT = 67
_KINDS = frozenset({"0003", "0800"})
"""ETH_P_ALL, which Kea's filter reduces to DHCP, and ETH_P_IP."""


def missing(device: str, address: IPv4Address) -> str:
    """What is not there, for people; empty when Kea hears clients."""
    try:
        index = socket.if_nametoindex(device)
    except OSError:
        return f"the device {device} is missing"
    if not has_udp(UDP.read_text(), address):
        return f"Kea does not listen on {address}"
    if not has_packet(PACKET.read_text(), index):
        return f"Kea does not listen on {device}"
    return ""


def is_local(address: IPv4Address) -> bool:
    """Whether this node has the address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tried:
        try:
            tried.bind((str(address), 0))
        except OSError:
            return False
    return True


def has_udp(text: str, address: IPv4Address) -> bool:
    """Whether ``/proc/net/udp`` has a socket of this address and the DHCP port."""
    (little,) = struct.unpack("=I", address.packed)
    wanted = f"{little:08X}:{SERVER_PORT:04X}"
    return any(wanted in line.split()[1:2] for line in text.splitlines()[1:])


def has_packet(text: str, index: int) -> bool:
    """Whether ``/proc/net/packet`` has a raw socket for IPv4 on the device of this number."""
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) >= 5 and fields[2] == "3" and fields[3] in _KINDS and fields[4] == str(index):
            return True
    return False
