"""Somebody on a segment who pings, as bytes on the wire: there is no time for a machine of its own."""

from __future__ import annotations

import select
import socket
import time

from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import ARP, Ether

OWN, OWN_MAC = "192.168.1.77", "52:54:00:00:00:77"
AGAIN_S = 0.1
"""Between two requests; an emulated node answers within some milliseconds, or is not there yet."""
FRAME_MAX = 65536


def first_answer(station: socket.socket, address: str, mac: str, wait_s: float) -> float | None:
    """When `address` at `mac` answered first, by the monotonic clock; ``None`` if it did not in time."""
    request = bytes(Ether(src=OWN_MAC, dst=mac) / IP(src=OWN, dst=address) / ICMP(id=7))
    end = time.monotonic() + wait_s
    while time.monotonic() < end:
        station.send(request)
        again = time.monotonic() + AGAIN_S
        while (left := again - time.monotonic()) > 0 and select.select([station], [], [], left)[0]:
            frame = Ether(station.recv(FRAME_MAX))
            if frame.haslayer(ARP) and frame[ARP].op == 1 and frame[ARP].pdst == OWN:
                asked = frame[ARP]
                answer = ARP(op=2, hwsrc=OWN_MAC, psrc=OWN, hwdst=asked.hwsrc, pdst=asked.psrc)
                station.send(bytes(Ether(src=OWN_MAC, dst=asked.hwsrc) / answer))
            elif frame.haslayer(ICMP) and frame[ICMP].type == 0 and frame[IP].src == address:
                return time.monotonic()
    return None
