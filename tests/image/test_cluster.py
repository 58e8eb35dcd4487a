"""Two machines started from one image become a cluster, and when one loses power the other serves the client."""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from appliance_images.hub import Hub, Segment
from appliance_images.qemu import MENU, VirtualMachine
from appliance_images.session import NODES, SEGMENTS, machines_of, write_example
from tests.image.conftest import Built

BOOT_S, SETTLE_S = 900, 240
CLIENT, CLIENT_MAC = "192.168.1.10", "52:54:00:00:00:10"
SERVER, SERVER_MAC = "198.51.100.1", "52:54:00:00:00:01"
LAN_VIP, WAN_VIP, VIRTUAL_MAC = "192.168.1.1", "198.51.100.200", "00:00:5e:00:01:01"


class Outside:
    """A client on the LAN and a server on the WAN: whether packets of one reach the other, through whom."""

    def __init__(self, hub: Hub) -> None:
        self.lan = hub.segments["lan"].station("test")
        self.wan = hub.segments["wan"].station("test")

    def close(self) -> None:
        """Pull both cables."""
        self.lan.close()
        self.wan.close()

    def source_seen(self, wait_s: float) -> str | None:
        """Source address that the server sees of one datagram of the client; ``None`` if it does not come."""
        mark = f"datagram {time.monotonic_ns()}".encode()
        packet = Ether(src=CLIENT_MAC, dst=VIRTUAL_MAC) / IP(src=CLIENT, dst=SERVER) / UDP(sport=4000, dport=53)
        self.lan.send(bytes(packet / Raw(mark)))
        end = time.monotonic() + wait_s
        while (left := end - time.monotonic()) > 0:
            for port in select.select([self.lan, self.wan], [], [], left)[0]:
                frame = Ether(port.recv(65536))
                self._answer(port, frame)
                if port is self.wan and frame.haslayer(UDP) and mark in bytes(frame):
                    return str(frame[IP].src)
        return None

    def _answer(self, port: socket.socket, frame: Ether) -> None:
        """Be there: answer ARP for the server and the client."""
        own, mac = (SERVER, SERVER_MAC) if port is self.wan else (CLIENT, CLIENT_MAC)
        if frame.haslayer(ARP) and frame[ARP].op == 1 and frame[ARP].pdst == own:
            asked = frame[ARP]
            answer = ARP(op=2, hwsrc=mac, psrc=own, hwdst=asked.hwsrc, pdst=asked.psrc)
            port.send(bytes(Ether(src=mac, dst=asked.hwsrc) / answer))


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with Hub(Segment(tmp_path, name, (*NODES, "test")) for name in SEGMENTS) as made:
        yield made


def asked(machine: VirtualMachine, line: str) -> Any:
    """The data that a command of the node prints."""
    text = machine.ask(f"{line} --json", SETTLE_S)
    found = re.search(r"\{\n.*\n\}", text, re.S)  # the console also asks how large it is, and shows what others say
    assert found is not None, text
    return json.loads(found[0])


def wait_until(condition: Any, what: str) -> None:
    """Ask again until it is so."""
    end = time.monotonic() + SETTLE_S
    while not condition():
        assert time.monotonic() < end, what


def states(machine: VirtualMachine) -> set[str]:
    return {vip["state"] for vip in asked(machine, "show carp")["vips"]}


@pytest.mark.timeout(3000)
def test_a_cluster_of_flashed_images_survives_the_loss_of_a_machine(built: Built, hub: Hub, tmp_path: Path) -> None:
    configs = [write_example(tmp_path, node) for node in NODES]
    hardware = machines_of(built.file(".qcow2"), tmp_path, hub, NODES, configs, uefi=False, kvm=False)
    with contextlib.ExitStack() as stack:
        first, second = (stack.enter_context(VirtualMachine(each)) for each in hardware)
        for machine in (first, second):
            machine.wait_for(r"node \w+ is up", BOOT_S)
            machine.reach_menu(SETTLE_S)
        second.send("pair --listen --json")
        said = second.wait_for(r'"code":\s*"([^"]+)"[^[]*"addresses":\s*\[\s*"([^"]+)"', SETTLE_S)
        first.ask(f"pair {said[2]} --code {said[1]}", SETTLE_S)
        second.wait_for(MENU, SETTLE_S)
        wait_until(lambda: asked(first, "show sync")["state"] == "in-sync", "the configuration is on both")
        wait_until(lambda: (states(first), states(second)) == ({"MASTER"}, {"BACKUP"}), "one is MASTER")
        outside = stack.enter_context(contextlib.closing(Outside(hub)))
        wait_until(lambda: outside.source_seen(3) == WAN_VIP, "the client is served")
        first.kill()
        wait_until(lambda: outside.source_seen(3) == WAN_VIP, "the other one serves the client")
        assert states(second) == {"MASTER"}
