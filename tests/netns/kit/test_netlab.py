"""Real packets between anonymous namespaces, and nothing left when the lab is gone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import trio

from appliance.testing import Netlab

pytestmark = pytest.mark.netns


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_two_machines_on_a_switch_talk_through_trio_sockets(netlab: Netlab) -> None:
    a, b, switch = netlab.node("a"), netlab.node("b"), netlab.switch()
    netlab.connect(a, switch, "eth0", ["10.0.0.1/24", "fd00::1/64"])
    netlab.connect(b, switch, "eth0", ["10.0.0.2/24"])

    async def main() -> bytes:
        raw = b.socket()
        raw.setblocking(False)
        raw.bind(("10.0.0.2", 9))
        with trio.socket.from_stdlib_socket(raw) as receiver, a.socket() as sender, trio.fail_after(10):
            sender.sendto(b"over a real cable", ("10.0.0.2", 9))
            return await receiver.recv(100)

    assert trio.run(main) == b"over a real cable"


def test_a_direct_cable_has_an_end_on_each_machine(netlab: Netlab) -> None:
    a, b = netlab.node("a"), netlab.node("b")
    netlab.connect(a, b, "sync", ["172.16.1.2/24"])
    netlab.address(b, "sync", ["172.16.1.3/24"])
    assert " 0% packet loss" in a.run("ping", "-c", "1", "-W", "5", "172.16.1.3")


def test_the_machine_it_runs_on_sees_nothing_of_it(netlab: Netlab) -> None:
    def devices() -> str:
        return subprocess.run(["ip", "-o", "link"], check=True, capture_output=True, text=True, timeout=10).stdout

    def names() -> set[str]:
        return {line.split(": ")[1] for line in devices().splitlines()}

    before = names()
    netlab.connect(netlab.node("a"), netlab.node("b"), "cable")
    assert not any(name.startswith("cable") for name in names() - before)


def test_nothing_is_left_behind() -> None:
    before = open_descriptors()
    with Netlab() as lab:
        process = lab.node("a").start("sleep", "60")
        namespace = os.stat(f"/proc/{process.pid}/ns/net").st_ino
        assert namespace != Path("/proc/self/ns/net").stat().st_ino
    assert process.poll() is not None
    assert open_descriptors() == before


def test_a_failing_command_says_where_and_why(netlab: Netlab) -> None:
    with pytest.raises(AssertionError, match=r"ip link show absent failed on left with 1: .*does not exist"):
        netlab.node("left").run("ip", "link", "show", "absent")
