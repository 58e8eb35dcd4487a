"""The sockets of one parent interface on a real device."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from appliance.lab.waiting import wait_until
from appliance.net import fastpath
from appliance.net.namespace import in_namespace, new_namespace
from appliance_carp.port import Port
from appliance_carp.settings import PortSettings
from tests.netns.carp.wires import packet

pytestmark = pytest.mark.netns


def ip(line: str) -> None:
    subprocess.run(["ip", *line.split()], check=True, timeout=10, stdout=subprocess.DEVNULL)


@pytest.fixture
def namespace() -> Iterator[int]:
    made = new_namespace()
    yield made
    os.close(made)


def attached() -> Port:
    ip("link add lan0 type veth peer name far")
    ip("link set far up")
    ip("link set lan0 up")
    ip("link show lan0")  # asking makes the kernel notice the carrier at once
    with fastpath.Netlink() as netlink:
        link = next(each for each in netlink.dump_links() if each.name == "lan0")
    port = Port(PortSettings(interface="lan", device="lan0"))
    port.attach(link)
    return port


def test_what_a_device_that_is_down_does_not_take_was_not_sent(namespace: int) -> None:
    def work() -> None:
        port = attached()
        for family in (4, 6):
            assert port.send_advert(bytes(36), family, "00:00:5e:00:01:01")
        ip("link set lan0 down")
        for family in (4, 6):
            wait_until(
                lambda family=family: not port.send_advert(bytes(36), family, "00:00:5e:00:01:01"), "it fails", 2
            )
        port.detach()

    in_namespace(namespace, work)


def test_however_many_adverts_come_the_kernel_answers_none_with_an_error(namespace: int) -> None:
    def work() -> None:
        port = attached()
        ip("link set lo up")
        with (
            socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sender4,
            socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW) as sender6,
        ):
            for _ in range(40):
                sender4.sendto(packet(bytes(36), "127.0.0.1", destination="127.0.0.1")[14:], ("127.0.0.1", 0))
                sender6.sendto(packet(bytes(36), "::1", destination="::1")[14:], ("::1", 0))
        lines = Path("/proc/thread-self/net/snmp").read_text().splitlines()
        head, values = [line.split() for line in lines if line.startswith("Icmp:")]
        assert values[head.index("OutMsgs")] == "0"
        # The kernel itself sends reports of multicast groups; errors are what counts.
        words = dict(line.split() for line in Path("/proc/thread-self/net/snmp6").read_text().splitlines())
        assert words["Icmp6OutParmProblems"] == words["Icmp6OutDestUnreachs"] == "0"
        port.detach()

    in_namespace(namespace, work)


def test_a_peer_without_a_route_was_not_sent_to(namespace: int) -> None:
    def work() -> None:
        port = attached()
        assert not port.send_unicast(bytes(36), ip_address("192.0.2.1"))
        ip("addr add 192.0.2.2/24 dev lan0")
        with fastpath.Netlink() as netlink:
            port.learn_addresses(netlink.dump_addresses(port.index))
        assert port.send_unicast(bytes(36), ip_address("192.0.2.1"))
        port.detach()

    in_namespace(namespace, work)
