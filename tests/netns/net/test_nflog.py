"""Packets of a real rule come out of the group it logs to."""

from __future__ import annotations

import select
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from appliance.errors import KernelError
from appliance.net.nflog import COPY_BYTES, Logged, PacketLog

pytestmark = pytest.mark.netns

Inside = Callable[[Callable[[], Any]], Any]
GROUP = 77
RULES = f"""
table inet t {{
  chain incoming {{
    type filter hook input priority filter
    udp dport 9 log prefix "fw_in:block " group {GROUP} counter drop
  }}
  chain outgoing {{
    type filter hook output priority filter
    udp dport 10 log prefix "fw_out:block " group {GROUP} drop
  }}
}}
"""


def prepare() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=10)
    subprocess.run(["nft", "-f", "-"], input=RULES, text=True, check=True, timeout=10)


def send(address: str, port: int, data: bytes = b"hello", count: int = 1) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender, suppress(PermissionError):
        for _ in range(count):
            sender.sendto(data, (address, port))


def drained(log: PacketLog, count: int) -> list[Logged]:
    found: list[Logged] = []
    while len(found) < count:
        readable, _, _ = select.select([log], [], [], 10.0)
        assert readable, f"{len(found)} of {count} packets came"
        found += log.drain(count)
    return found


def test_packets_come_with_their_rule_device_and_beginning(inside: Inside) -> None:
    def body() -> None:
        prepare()
        loopback = socket.if_nametoindex("lo")
        with PacketLog(GROUP) as log:
            send("127.0.0.1", 9, bytes(500))
            send("::1", 9)
            send("127.0.0.1", 10)
            v4, v6, out = drained(log, 3)
        assert (v4.prefix, v4.hook, v4.indev, v4.outdev, v4.protocol) == ("fw_in:block", 1, loopback, 0, 0x0800)
        assert (v4.payload[0], len(v4.payload), v4.payload[20:24][2:]) == (0x45, COPY_BYTES, b"\x00\x09")
        assert (v6.payload[0] >> 4, v6.protocol, v6.payload[-5:]) == (6, 0x86DD, b"hello")
        assert v4.timestamp > 1_700_000_000
        assert (out.prefix, out.hook, out.indev, out.outdev) == ("fw_out:block", 3, 0, loopback)

    inside(body)


def test_who_does_not_read_loses_packets_of_the_log_and_knows_how_many(inside: Inside) -> None:
    sent = 5000

    def body() -> None:
        prepare()
        with PacketLog(GROUP, receive_buffer=65536) as log:
            send("127.0.0.1", 9, count=sent)
            first = log.drain(sent)
            assert 0 < len(first) < sent
            assert log.counters.overruns == 1
            # Afterwards the log is as before, and the next packet tells by its number what is missing.
            send("127.0.0.1", 9)
            later = drained(log, 1)
            while select.select([log], [], [], 0.5)[0]:
                later += log.drain(sent)
            assert len(first) + len(later) + log.counters.lost == sent + 1
            assert log.counters.malformed == 0

    inside(body)


def test_a_group_that_another_socket_has_is_refused_until_it_is_closed(inside: Inside) -> None:
    def body() -> None:
        with PacketLog(GROUP), pytest.raises(KernelError, match=f"cannot use packet log group {GROUP}"):
            PacketLog(GROUP)
        with PacketLog(GROUP) as log:
            assert log.drain(1) == []

    inside(body)


def test_rules_go_on_when_nobody_reads_their_group(inside: Inside) -> None:
    def body() -> None:
        prepare()
        PacketLog(GROUP).close()
        send("127.0.0.1", 9)
        listed = subprocess.run(
            ["nft", "list", "chain", "inet", "t", "incoming"], capture_output=True, text=True, check=True, timeout=10
        )
        assert f"group {GROUP} counter packets 1 " in listed.stdout

    inside(body)
