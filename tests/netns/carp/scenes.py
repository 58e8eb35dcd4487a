"""What the tests of behaviour share: who holds and answers for addresses, frames on a cable, processes of a node."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from ipaddress import ip_address
from typing import Any

from appliance.lab import Lab, netns
from appliance.lab.measure import ProbeResult
from appliance.lab.waiting import is_all, is_settled, wait_until
from tests.netns.carp.wires import ATTACKER_MAC, Frame, Wire, arp, internet_checksum, mac, packet, tapped
from tests.netns.carp.words import heartbeat

NODES = ("fw1", "fw2")
VIRTUAL_MAC = {"lan": "00:00:5e:00:01:01", "wan": "00:00:5e:00:01:c8"}
VIPS = {
    "lan": ("192.168.1.1", "2001:db8:1::1"),
    "wan": ("198.51.100.200", "2001:db8:ffff::200"),
}
ALL_VIPS = frozenset(vip for vips in VIPS.values() for vip in vips)
OWN = {"fw1": ("192.168.1.2", "2001:db8:1::2"), "fw2": ("192.168.1.3", "2001:db8:1::3")}
"""Addresses on the LAN."""
OWN_MAC = {"fw1": "02:fc:00:01:01:01", "fw2": "02:fc:00:01:02:01"}
CLIENT, SERVER = ("192.168.1.100", "2001:db8:1::100"), ("198.51.100.1", "2001:db8:ffff::1")
CLIENT_MAC = "02:fc:00:01:04:01"
SWITCH = {"lan": "lansw", "wan": "wansw"}
CONFIRM_S = 2.0
"""For what the kernel does in microseconds, on a machine that may stall."""


# ------------------------------------------------------------------------------------------------- commands


def appliance(lab: Lab, node: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """Runs the command line on a node, whatever its exit status."""
    return lab.exec(node, "appliance", *argv, check=False)


def said(lab: Lab, node: str, *argv: str) -> str:
    """What a command that succeeds prints."""
    done = appliance(lab, node, *argv)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.strip()


def refused(lab: Lab, node: str, *argv: str, status: int = 1) -> tuple[str, str]:
    """The two lines of an error: what happened, and what to do about it."""
    done = appliance(lab, node, *argv)
    assert (done.returncode, done.stdout) == (status, ""), done
    what, fix = done.stderr.rstrip("\n").split("\n")
    assert what.startswith("appliance: ")
    assert fix.startswith("  ")
    return what.removeprefix("appliance: "), fix.strip()


HANDED_OVER = re.compile(r"2 virtual hosts handed over to fw2 in (\d+\.\d) ms")


def handover_ms(text: str) -> float:
    """The time a role change says it took."""
    found = HANDED_OVER.search(text)
    assert found, text
    return float(found[1])


def without_loss(attempt: Callable[[], ProbeResult], tries: int = 3) -> ProbeResult:
    """The best of a few: what is lost by design is lost each time, what a stalled test machine loses is not."""
    results: list[ProbeResult] = []
    for _ in range(tries):
        results.append(attempt())
        if not results[-1].lost:
            break
    best = min(results, key=lambda result: result.lost)
    assert best.lost == 0, [result.sentence() for result in results]
    return best


def wait_moved(
    lab: Lab, master: str, other: str, *, states: Iterable[str] = ("BACKUP",), deadline_s: float = 20.0
) -> None:
    """Until `master` has everything, and the other node nothing: all its virtual hosts are in these states."""
    allowed = set(states)

    def moved(seen: Any) -> bool:
        rest = {each["state"] for each in seen.get(other, {}).get("vips", [])}
        return is_all(seen.get(master), "MASTER") and bool(rest) and rest <= allowed

    lab.wait_for(moved, f"{master} has everything and {other} is {' or '.join(sorted(allowed))}", deadline_s)


def one_master(lab: Lab, master: str = "fw1", deadline_s: float = 30.0) -> None:
    """Until this node has everything, nothing is demoted, and the kernels agree."""
    other = next(node for node in NODES if node != master)

    def healthy(seen: Any) -> bool:
        return is_settled(seen, master, (other,)) and not any(each["demotion"] for each in seen.values())

    lab.wait_for(healthy, f"{master} is the only master and nobody is demoted", deadline_s)
    assert held(lab, master) >= ALL_VIPS
    wait_until(lambda: not held(lab, other) & ALL_VIPS, f"{other} holds no virtual address", 1)  # its hold time


# ------------------------------------------------------------------------------------- addresses in the kernel


def links(lab: Lab, node: str) -> dict[str, dict[str, Any]]:
    """``ip address`` of a node by device."""
    shown = json.loads(netns.run(["ip", "-n", lab.topology.namespace(node), "-json", "address", "show"]))
    return {row["ifname"]: row for row in shown if row}


def held(lab: Lab, node: str) -> frozenset[str]:
    """Every address on a virtual MAC of a node."""
    return frozenset(
        info["local"] for name, row in links(lab, node).items() if ".v" in name for info in row.get("addr_info", [])
    )


def wait_empty(lab: Lab, node: str) -> None:
    """Until a node holds no virtual address; for 20 ms after its bow-out a BACKUP still forwards (the hold time)."""
    wait_until(lambda: held(lab, node) == frozenset(), f"{node} holds nothing", 1)


def closed(lab: Lab, node: str) -> frozenset[str]:
    """Names of the virtual MACs under the drop rule."""
    command = [*lab.argv(node, ["nft", "-j", "list", "set", "inet", "appliance_carp", "closed"])]
    rows = json.loads(netns.run(command))["nftables"]
    return frozenset(name for row in rows if "set" in row for name in row["set"].get("elem", []))


def knobs(lab: Lab, node: str, device: str) -> tuple[str, str]:
    """``forwarding`` of IPv4 and ``disable_ipv6`` of a device."""
    namespace = lab.topology.namespace(node)
    return (
        netns.read_sysctl(namespace, f"net/ipv4/conf/{device}/forwarding"),
        netns.read_sysctl(namespace, f"net/ipv6/conf/{device}/disable_ipv6"),
    )


# --------------------------------------------------------------------------------------- frames on one cable


def summed_icmp6(payload: bytes, source: str, destination: str) -> bytes:
    """An ICMPv6 message with a right checksum, which covers a pseudo header."""
    blank = payload[:2] + b"\0\0" + payload[4:]
    pseudo = ip_address(source).packed + ip_address(destination).packed + struct.pack("!II", len(blank), 58)
    return blank[:2] + struct.pack("!H", internet_checksum(pseudo + blank)) + blank[4:]


def question(asked: str, *, asker: str = "", asker_mac: str = CLIENT_MAC) -> bytes:
    """ARP request or neighbour solicitation of the client for an address."""
    address = ip_address(asked)
    if address.version == 4:
        return arp(1, asker_mac, asker or CLIENT[0], asked)
    target = address.packed
    group = "ff02::1:ff" + ":".join((target[13:14].hex(), target[14:16].hex()))
    body = struct.pack("!BBHI", 135, 0, 0, 0) + target + bytes((1, 1)) + mac(asker_mac)
    source = asker or CLIENT[1]
    return packet(
        summed_icmp6(body, source, group),
        source,
        destination=group,
        source_mac=asker_mac,
        destination_mac="33:33:ff:" + target[13:16].hex(":"),
        protocol=58,
    )


def answer(frame: Frame) -> tuple[str, str] | None:
    """Address and MAC that an ARP reply or a solicited neighbour advertisement tells."""
    if frame.outgoing:
        return None
    if frame.ethertype == 0x0806 and frame.raw[20:22] == b"\0\2":
        return str(ip_address(frame.raw[28:32])), frame.raw[22:28].hex(":")
    if frame.family == 6 and frame.protocol == 58 and frame.payload[0] == 136 and frame.payload[4] & 0x40:
        return str(ip_address(frame.payload[8:24])), frame.payload[26:32].hex(":")
    return None


def answers(lab: Lab, wire: Wire, asked: str, nodes: Sequence[str] = NODES) -> list[str]:
    """MACs that answer on the LAN for an address, when asked through this wire, which reaches these nodes.

    Nothing comes any more when a broadcast sent after the question has arrived at every virtual MAC (the kernel
    delivers broadcasts to macvlans later than to the card, in their order), and one more question was answered.
    """
    end = OWN[nodes[0]][1 if ip_address(asked).version == 4 else 0]
    with ExitStack() as stack:
        taps = [stack.enter_context(tapped(lab, node, "lan0.v1")) for node in nodes]
        wire.forget()
        wire.send(question(asked), who_is_there())
        for tap in taps:
            tap.wait(lambda frame: frame.raw[:42] == who_is_there(), "the broadcast after it", deadline_s=CONFIRM_S)
        wire.send(question(end))
        wire.wait(lambda frame: (answer(frame) or ("",))[0] == end, f"an answer for {end}", deadline_s=CONFIRM_S)
    found = [answer(frame) for frame in wire.listen()]
    return [each[1] for each in found if each is not None and each[0] == asked]


def answers_of(lab: Lab, node: str, asked: str) -> list[str]:
    """MACs with which one node, asked at its own LAN cable, answers for an address."""
    with tapped(lab, "lansw", node) as wire:
        return answers(lab, wire, asked, (node,))


def datagram(destination_mac: str, mark: bytes, *, family: int = 4, source_mac: str = ATTACKER_MAC) -> bytes:
    """A UDP packet of the client to the server, for a router with this MAC; it carries a mark."""
    which = 0 if family == 4 else 1
    source, destination = CLIENT[which], SERVER[which]
    payload = struct.pack("!HHHH", 9, 9, 8 + len(mark), 0) + mark
    return packet(
        payload,
        source,
        destination=destination,
        source_mac=source_mac,
        destination_mac=destination_mac,
        ttl=64,
        protocol=17,
    )


def igmp_query() -> bytes:
    """A general IGMPv2 query that wants answers within 0.1 s."""
    return packet(bytes.fromhex("1101eefe00000000"), "192.168.1.9", destination="224.0.0.1",
                  destination_mac="01:00:5e:00:00:01", ttl=1, protocol=2)  # fmt: skip


def mld_query() -> bytes:
    """A general MLDv2 query that wants answers within 10 ms, with the router alert option it must have."""
    body = struct.pack("!BBHHH", 130, 0, 0, 10, 0) + bytes(16) + struct.pack("!BBH", 2, 125, 0)
    hop_by_hop = bytes((58, 0, 5, 2, 0, 0, 1, 0))
    return packet(
        hop_by_hop + summed_icmp6(body, "fe80::9", "ff02::1"),
        "fe80::9",
        destination="ff02::1",
        destination_mac="33:33:00:00:00:01",
        ttl=1,
        protocol=0,
    )


def who_is_there() -> bytes:
    """A broadcast ARP request for an address that nobody has."""
    return arp(1, CLIENT_MAC, CLIENT[0], "192.168.1.77")


# ------------------------------------------------------------------------------------------------- processes


def heartbeat_pid(lab: Lab, node: str) -> int:
    """The heartbeat process."""
    return int(heartbeat(lab, node)["pid"])


def guard_pids(lab: Lab, node: str) -> list[int]:
    """Guards; there should be one."""
    return [pid for pid in netns.pids(lab.topology.namespace(node)) if netns.process_name(pid) == "carp-guard"]


def main_pid(lab: Lab, node: str) -> int:
    """The main process."""
    pid = lab.init_facts(node)["pid"]
    assert isinstance(pid, int)
    return pid


def is_gone(pid: int) -> bool:
    """Whether a process has ended."""
    return netns.process_state(pid) in ("", "Z")


def seconds_until(condition: Callable[[], object], what: str, deadline_s: float) -> float:
    """How long it took until this was so."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < deadline_s, f"not within {deadline_s} s: {what}"
        time.sleep(0.002)
    return time.monotonic() - start
