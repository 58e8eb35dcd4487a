"""The replicators of connection states under measurement: ours and conntrackd, each in a lab where fw1 passes traffic.

What they have in common is asked of the kernel and of `/proc`, so that nobody measures himself. conntrackd runs on
plain routers (the lab gives fw1 the virtual addresses), with the buffers that its manual advises for busy firewalls.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from small import cpu_s, memory_mb

from appliance.errors import ApplianceError
from appliance.lab import Lab, Software, Topology, netns
from appliance.lab.config import NodeSettings
from appliance.lab.topology import LAN, SYNC, WAN
from appliance.lab.waiting import wait_until
from tests.netns.pfsync import flows, natrules

NODES = ("fw1", "fw2")
READY_S = 40.0
MAX_STATES = 2_000_000
HASH_SIZE = 1_048_576
WARM_UP = 64
_MAX = Path("/proc/sys/net/netfilter/nf_conntrack_max")
_HASH = Path("/sys/module/nf_conntrack/parameters/hashsize")


def require_conntrackd() -> None:
    """Fail early when it is not installed."""
    missing = [tool for tool in ("conntrackd", "conntrack", "keepalived") if shutil.which(tool) is None]
    if missing:
        raise SystemExit(f"missing: {', '.join(missing)}; 'make setup' installs what the benchmarks need")


@contextmanager
def room_for_states() -> Iterator[None]:
    """A large connection-tracking table while the block lasts. Its limits are the whole machine's."""
    before = {path: path.read_text() for path in (_MAX, _HASH)}
    try:
        _HASH.write_text(str(max(HASH_SIZE, int(before[_HASH]))))
        _MAX.write_text(str(max(MAX_STATES, int(before[_MAX]))))
        yield
    finally:
        for path in (_HASH, _MAX):  # the kernel sets the second when the first is written
            path.write_text(before[path])


class Replicator(ABC):
    """One implementation, in a lab of its own."""

    name: str
    holds_in_kernel = True
    """The standby's kernel has the states at once, not only a cache of the daemon."""

    @abstractmethod
    def make_lab(self, name: str) -> Lab:
        """The lab it runs in."""

    @abstractmethod
    def start(self, lab: Lab) -> None:
        """Start it on both nodes and wait until fw1 passes traffic and the two know each other."""

    @abstractmethod
    def pids(self, lab: Lab, node: str) -> list[int]:
        """Its processes on a node: those that replicate, and nothing else."""

    @abstractmethod
    def created(self, lab: Lab) -> int:
        """How many states of fw1 have been new to fw2 since it runs."""

    @abstractmethod
    def reset_standby(self, lab: Lab) -> None:
        """fw2 loses power and comes back without a state; its replicator does not run yet."""

    @abstractmethod
    def start_bulk(self, lab: Lab) -> None:
        """Start the replicator of fw2 so that it gets the whole table."""

    def is_bulk_done(self, lab: Lab) -> bool:
        """What it says itself."""
        return True

    def held(self, lab: Lab) -> int:
        """How many states fw2 holds for fw1."""
        return natrules.entries(lab, "fw2")

    @contextmanager
    def running(self, name: str) -> Iterator[Lab]:
        """Its lab, with traffic flowing."""
        with self.make_lab(name) as lab:
            for node in NODES:
                natrules.load(lab, node)
            self.start(lab)
            flows.sink(lab)
            _count_arrivals(lab)
            flows.run(lab, "udp", WARM_UP, rate=4 * WARM_UP)  # the neighbours get to know each other
            yield lab

    def cpu_s(self, lab: Lab, node: str) -> float:
        """CPU seconds of its processes on a node until now."""
        return sum(cpu_s(pid) for pid in self.pids(lab, node))

    def memory_mb(self, lab: Lab, node: str) -> float:
        """Their proportional set size."""
        return memory_mb(dict.fromkeys(self.pids(lab, node), "all"))["all"]


class Ours(Replicator):
    """The plugin pfsync, native version, authenticated and encrypted."""

    name = "appliance pfsync"

    def make_lab(self, name: str) -> Lab:
        return Lab(Topology(name=name), settings=NodeSettings(pfsync={}))

    def start(self, lab: Lab) -> None:
        lab.wait_settled("fw1", READY_S)
        for node in NODES:
            wait_until(lambda node=node: self.is_ready(lab, node), f"{node} replicates", READY_S)  # type: ignore[misc]

    def pids(self, lab: Lab, node: str) -> list[int]:
        return [pid for pid in netns.pids(lab.topology.namespace(node)) if "replicator" in netns.title(pid)]

    def created(self, lab: Lab) -> int:
        counters = self._said(lab, "fw2").get("counters")
        return int(counters["created"]) if isinstance(counters, dict) else 0

    def reset_standby(self, lab: Lab) -> None:
        lab.power_off("fw2")

    def start_bulk(self, lab: Lab) -> None:
        natrules.boot(lab, "fw2")

    def is_bulk_done(self, lab: Lab) -> bool:
        return self.is_ready(lab, "fw2")

    def is_ready(self, lab: Lab, node: str) -> bool:
        """The node hears its peer and has its states."""
        said = self._said(lab, node)
        return bool(said.get("peer")) and said.get("bulk") == "done"

    def counters(self, lab: Lab, node: str) -> dict[str, int]:
        """What it counted on a node."""
        found = self._said(lab, node).get("counters")
        return {name: int(value) for name, value in found.items()} if isinstance(found, dict) else {}

    def _said(self, lab: Lab, node: str) -> dict[str, object]:
        try:
            return lab.request(node, "show", "pfsync")
        except ApplianceError:  # being started
            return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How conntrackd is configured."""

    mode: str
    direct: bool = False
    """States go into the standby's kernel at once (DisableExternalCache)."""

    @property
    def name(self) -> str:
        """For tables."""
        return f"conntrackd 1.4.7 {self.mode}" + (", no external cache" if self.direct else "")


FTFW, NOTRACK = Recipe(mode="FTFW"), Recipe(mode="NOTRACK")
FTFW_DIRECT, NOTRACK_DIRECT = Recipe(mode="FTFW", direct=True), Recipe(mode="NOTRACK", direct=True)


class Conntrackd(Replicator):
    """conntrackd between two plain routers."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.name = recipe.name
        self.holds_in_kernel = recipe.direct

    def make_lab(self, name: str) -> Lab:
        return Lab(Topology(name=name), software=Software.ROUTER)

    def start(self, lab: Lab) -> None:
        for node in NODES:
            start_conntrackd(lab, node, self.recipe)

    def pids(self, lab: Lab, node: str) -> list[int]:
        return conntrackd_pids(lab, node)

    def created(self, lab: Lab) -> int:
        heading = "external inject:" if self.recipe.direct else "cache external:"
        shown = re.search(rf"{heading}.*?connections created:\s+(\d+)", told(lab, "fw2", "-s"), re.DOTALL)
        return int(shown[1]) if shown else 0

    def held(self, lab: Lab) -> int:
        return super().held(lab) if self.recipe.direct else cached(lab, "fw2")

    def reset_standby(self, lab: Lab) -> None:
        lab.power_off("fw2")
        natrules.boot(lab, "fw2")
        start_conntrackd(lab, "fw2", self.recipe)

    def start_bulk(self, lab: Lab) -> None:
        lab.spawn("fw2", [*_command(lab, "fw2"), "-n"], log=lab.directory / "fw2-bulk.out")


def conntrackd_pids(lab: Lab, node: str) -> list[int]:
    """The daemons on a node."""
    return [pid for pid in netns.pids(lab.topology.namespace(node)) if netns.process_name(pid) == "conntrackd"]


def cached(lab: Lab, node: str) -> int:
    """How many states of the peer a conntrackd holds in its cache."""
    shown = re.search(r"cache external:\s+current active connections:\s+(\d+)", told(lab, node, "-s"))
    return int(shown[1]) if shown else 0


def told(lab: Lab, node: str, command: str) -> str:
    """What a conntrackd answers to a command; nothing while it is not there."""
    try:
        return lab.exec(node, *_command(lab, node), command, check=False).stdout
    except (ApplianceError, subprocess.TimeoutExpired):
        return ""


def _command(lab: Lab, node: str) -> list[str]:
    return ["conntrackd", "-C", str(lab.directory / f"{node}-conntrackd.conf")]


def start_conntrackd(lab: Lab, node: str, recipe: Recipe) -> None:
    """Start the daemon and wait until it answers."""
    config = Path(_command(lab, node)[-1])
    config.write_text(conntrackd_config(lab, node, recipe))
    for left in (config.with_suffix(".lock"), config.with_suffix(".ctl")):
        left.unlink(missing_ok=True)  # of one that died with its node
    lab.spawn(node, _command(lab, node), log=config.with_suffix(".out"))
    wait_until(lambda: "cache internal" in told(lab, node, "-s"), f"conntrackd answers on {node}", READY_S)


def conntrackd_config(lab: Lab, node: str, recipe: Recipe) -> str:
    """Its file. What ends at a node itself is ignored by address, as its manual wants it."""
    number = lab.topology.ordinal(node)
    files = lab.directory / f"{node}-conntrackd"
    own, peer = (SYNC.node4(each).partition("/")[0] for each in (number, 3 - number))
    nets = (LAN, WAN, SYNC)
    local4 = ["127.0.0.1", *(net.node4(each).partition("/")[0] for net in nets for each in (1, 2))]
    local6 = ["::1", *(net.node6(each).partition("/")[0] for net in (LAN, WAN) for each in (1, 2))]
    ignored = "\n".join([f"   IPv4_address {each}" for each in local4] + [f"   IPv6_address {each}" for each in local6])
    return f"""
Sync {{
 Mode {recipe.mode} {{
  {"DisableExternalCache yes" if recipe.direct else "CommitTimeout 1800"}
 }}
 UDP {{
  IPv4_address {own}
  IPv4_Destination_Address {peer}
  Port 3780
  Interface {SYNC.device}
  SndSocketBuffer {64 << 20}
  RcvSocketBuffer {64 << 20}
  Checksum on
 }}
}}
General {{
 Systemd no
 HashSize 262144
 HashLimit {2 * MAX_STATES}
 LogFile {files}.log
 LockFile {files}.lock
 UNIX {{
  Path {files}.ctl
 }}
 NetlinkBufferSize {64 << 20}
 NetlinkBufferSizeMaxGrowth {128 << 20}
 Filter From Kernelspace {{
  Protocol Accept {{
   TCP
   UDP
   ICMP
  }}
  Address Ignore {{
{ignored}
  }}
 }}
}}
"""


def _count_arrivals(lab: Lab) -> None:
    """Count at the server before `flows.sink` drops: datagrams, and handshakes."""
    first, last = flows.FIRST_DPORT, flows.FIRST_DPORT + flows.DPORTS - 1
    netns.nft(
        lab.topology.namespace("server"),
        "table ip arrivals {\n  counter of_udp { }\n  counter of_tcp { }\n  chain seen {\n"
        "    type filter hook prerouting priority -310;\n"
        f"    udp dport {first}-{last} counter name of_udp\n"
        f"    tcp dport {first}-{last} tcp flags & (syn | ack) == syn counter name of_tcp\n  }}\n}}\n",
    )


def arrived(lab: Lab, kind: str) -> int:
    """How many flows of `flows.run` have reached the server until now."""
    name = "of_udp" if kind == "udp" else "of_tcp"
    shown = lab.exec("server", "nft", "list", "counter", "ip", "arrivals", name).stdout
    found = re.search(r"packets (\d+)", shown)
    assert found is not None
    return int(found[1])
