"""Costs of single things: the bus, the command line, an idle node, many virtual hosts."""

from __future__ import annotations

import json
import os
import statistics
import struct
import subprocess
import sys
import time
from pathlib import Path

import trio
import trio.lowlevel

from appliance.bus import EventBus
from appliance.events import Event, event
from appliance.lab.config import NodeSettings
from appliance.lab.lab import Lab, unique_name
from appliance.lab.topology import Topology
from appliance.lab.waiting import is_all, view

IDLE_S = 20.0
START_S = 120.0
CLI_RUNS = 20
TICK = os.sysconf("SC_CLK_TCK")


@event()
class Beat(Event):
    """What the bus is measured with."""

    number: int


def bus_rate(subscribers: int = 6, bursts: int = 2000, burst: int = 32) -> float:
    """Events per second from publish to all subscribers having received them."""

    async def main() -> float:
        bus = EventBus()
        want, received = bursts * burst, 0
        async with trio.open_nursery() as nursery:

            async def take(number: int, task_status: trio.TaskStatus[None]) -> None:
                with bus.subscribe(Beat, name=f"s{number}", capacity=burst * 2) as events:
                    task_status.started()
                    nonlocal received
                    for _ in range(want):
                        await events.receive()
                        received += 1

            for number in range(subscribers):
                await nursery.start(take, number)
            start = time.perf_counter()
            for first in range(bursts):
                for number in range(burst):
                    bus.publish(Beat(number=first * burst + number), source="bench")
                while received < (first + 1) * burst * subscribers:
                    await trio.lowlevel.checkpoint()
        return want / (time.perf_counter() - start)

    return trio.run(main)


def cli_times(lab: Lab) -> list[float]:
    """Seconds from starting ``appliance show carp`` to its end."""
    program = Path(sys.executable).with_name("appliance")
    environment = os.environ | {"APPLIANCE_SOCKET": str(lab.socket("fw1"))}
    times = []
    for _ in range(CLI_RUNS):
        start = time.perf_counter()
        subprocess.run([program, "show", "carp"], env=environment, stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - start)
    return times


def node_pids(lab: Lab, node: str) -> dict[int, str]:
    """Processes of a node without the lab's init: pid to name."""
    listed = subprocess.run(
        ["ip", "netns", "pids", lab.topology.namespace(node)], capture_output=True, text=True, check=True
    )
    found = {}
    for pid in map(int, listed.stdout.split()):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"appliance.lab.init" in words:
            continue
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        found[pid] = (
            "heartbeat"
            if b"appliance.host.isolated" in words and name != "carp-guard"
            else ("guard" if name == "carp-guard" else "main")
        )
    return found


def cpu_s(pid: int) -> float:
    """CPU seconds a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def cpu_percent(pids: dict[int, str], seconds: float) -> dict[str, float]:
    """Per process name: percent of one core over a while."""
    before = {pid: cpu_s(pid) for pid in pids}
    time.sleep(seconds)
    return {name: (cpu_s(pid) - before[pid]) / seconds * 100 for pid, name in pids.items()}


def memory_mb(pids: dict[int, str]) -> dict[str, float]:
    """Per process name: proportional set size in MB."""
    found = {}
    for pid, name in pids.items():
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        found[name] = int(text.split("Pss:")[1].split()[0]) / 1024
    return found


def idle_node() -> dict[str, object]:
    """CPU, memory and command-line time of the example cluster at rest; of fw1, the master."""
    with Lab(Topology(name=unique_name("b"))) as lab:
        lab.wait_settled("fw1")
        time.sleep(3)
        pids = node_pids(lab, "fw1")
        cpu = cpu_percent(pids, IDLE_S)
        memory = memory_mb(pids)
        times = cli_times(lab)
    return {
        "cpu": cpu,
        "memory": memory,
        "cli_median_ms": statistics.median(times) * 1000,
        "cli_max_ms": max(times) * 1000,
    }


def start_cpu_s() -> dict[str, float]:
    """CPU seconds of each process of a node from its start until it is MASTER; asked only twice a second."""
    settings = NodeSettings(pfsync={}, firewall=True, dhcp={})
    with Lab(Topology(name=unique_name("b"), nodes=1), settings=settings) as lab:
        deadline = time.monotonic() + START_S
        while not is_all(view(lab).get("fw1"), "MASTER"):
            assert time.monotonic() < deadline, "the node does not become MASTER"
            time.sleep(0.5)
        found: dict[str, float] = {}
        for pid, name in node_pids(lab, "fw1").items():
            found[name] = found.get(name, 0.0) + cpu_s(pid)
    return found


SCALE_DEVICES = ("wan0", "lan0", "wan1", "dmz0")


def scale_toml(node: int, count: int) -> str:
    """`count` virtual hosts on each of four interfaces."""
    lines = ["[node]", f'name = "fw{node}"', ""]
    for number, device in enumerate(SCALE_DEVICES):
        lines += [f"[interfaces.n{number}]", f'device = "{device}"', f'addresses = ["10.{number}.0.{node}/16"]', ""]
    lines += ["[interfaces.sync]", 'device = "sync0"', f'addresses = ["172.16.1.{node + 1}/24"]', ""]
    lines += ["[carp]", 'password = "secret"', 'sync_interface = "sync"', ""]
    for number in range(len(SCALE_DEVICES)):
        for vhid in range(1, count + 1):
            lines += [
                "[[carp.vip]]", f'name = "v{number}x{vhid}"', f'interface = "n{number}"', f"vhid = {vhid}",
                f'addresses = ["10.{number}.1.{vhid}/16"]', f"advskew = {0 if node == 1 else 100}", "",
            ]  # fmt: skip
    return "\n".join(lines)


def scale(count: int = 255, seconds: float = 20.0) -> dict[str, object]:
    """CPU of both heartbeat processes and the jitter of adverts with `count` VHIDs on four interfaces."""
    settings = {f"fw{node}": NodeSettings(text=scale_toml(node, count)) for node in (1, 2)}
    with Lab(Topology(name=unique_name("b"), second_wan=True, dmz=True), settings=settings) as lab:
        lab.wait_settled("fw1", 60)
        time.sleep(5)
        capture = lab.directory / "jitter.pcap"
        lab.popen(
            "lansw",
            "timeout",
            str(int(seconds)),
            "tcpdump",
            "-i",
            "sw0",
            "-s",
            "80",
            "-w",
            str(capture),
            "ip proto 112",
        )
        cpu = {node: cpu_percent(node_pids(lab, node), seconds) for node in ("fw1", "fw2")}
        time.sleep(1.5)
        return {"cpu": cpu, "jitter_ms": jitter_ms(capture), "memory": memory_mb(node_pids(lab, "fw1"))}


def jitter_ms(capture: Path) -> dict[str, float]:
    """How far the intervals between adverts of a VHID are from one second."""
    data = capture.read_bytes()
    last: dict[int, float] = {}
    off: list[float] = []
    at = 24
    while at + 16 <= len(data):
        seconds, micro, length, _ = struct.unpack_from("=IIII", data, at)
        frame = data[at + 16 : at + 16 + length]
        at += 16 + length
        if len(frame) < 38 or frame[34] != 0x21:
            continue
        when, vhid = seconds + micro / 1e6, frame[35]
        if vhid in last:
            off.append(abs(when - last[vhid] - 1.0) * 1000)
        last[vhid] = when
    off.sort()
    if not off:
        return {}
    return {"median": off[len(off) // 2], "p99": off[int(len(off) * 0.99)], "max": off[-1], "adverts": float(len(off))}


if __name__ == "__main__":
    print(json.dumps({"bus": bus_rate()}, indent=1))
