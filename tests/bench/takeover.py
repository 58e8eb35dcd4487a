"""Connections that live through a takeover, and back: states before addresses, or after them.

Connections of every kind are open while fw1 fails (the faults of `failover`) and while it comes back, with many other
states in the table. What is counted is how many of them are lost, and the longest silence of a UDP stream and of a
download that lived on. A trial begins when fw1 holds everything and fw2 has its states.
"""

from __future__ import annotations

import math
import random
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from replicators import (
    FTFW,
    FTFW_DIRECT,
    NODES,
    Ours,
    Recipe,
    cached,
    conntrackd_pids,
    require_conntrackd,
    room_for_states,
    start_conntrackd,
)
from states import until
from statestables import middle
from systems import ADDRESSES, Appliance, Keepalived, System

from appliance.errors import ApplianceError
from appliance.lab import Lab, Topology, netns
from appliance.lab.config import NodeSettings
from appliance.lab.lab import unique_name
from appliance.lab.topology import LAN, WAN
from tests.netns.pfsync import flows, natrules
from tests.netns.pfsync.connections import KINDS, Connections, opened

SCENARIOS = ("death", "fail-back", "cable", "planned", "kill -9")
"""The fail-back is the one after the death."""
SYSTEMS = ("ours", "without", "recipe", "direct")
CONNECTIONS = len(KINDS) + 1
FAULT_S, BACK_S = 4.0, 30.0
"""How long it takes to cause a fault; until a node that was away is master again. A connection that is lost is known
to be so only at the end of the time for which it was opened."""
SYNCED_S = 60.0
FILL_ROUNDS = 4
FILL_RATES = {"udp": 20_000, "open": 8_000}
"""Slow enough for every replicator."""
PREEMPT_DELAY_S = 5
"""Granted to keepalived: without it the node that comes back takes over before it has asked for any state."""
RETRY_S = 6.5
"""TCP repeats after 0.2, 0.4 … 3.2 s: until then a connection that lost everything during a takeover is silent."""
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How much is measured."""

    runs: int = 20
    peer_runs: int = 20
    """Of keepalived with conntrackd."""
    sizes: tuple[int, ...] = (0, 20_000, 100_000)
    scenarios: tuple[str, ...] = SCENARIOS
    systems: tuple[str, ...] = SYSTEMS
    interval_s: float = 1.0
    """Between the adverts of keepalived."""
    ordinary: bool = False
    """Not the strict firewall of `natrules`, but what most people run: the kernel's default that connections are
    picked up midway, and a node that answers packets for its virtual address that belong to nothing."""


QUICK = Options(runs=1, peer_runs=1, sizes=(2_000,), scenarios=("death", "fail-back"))


@dataclass(slots=True, kw_only=True)
class Outcome:
    """All trials of one system, size and scenario."""

    system: str
    size: int
    scenario: str
    lost: list[list[str]] = field(default_factory=list)
    """Per trial, who did not survive."""
    udp_ms: list[float] = field(default_factory=list)
    download_ms: list[float] = field(default_factory=list)

    def add(self, connections: Connections) -> None:
        """The outcome of a trial."""
        self.lost.append(connections.lost)
        for name, values in (("UDP stream through SNAT", self.udp_ms), ("download through SNAT", self.download_ms)):
            found = connections.results[name]
            values.append(found.longest_gap_ms if found.survived else math.inf)


class Subject:
    """A system whose nodes share their states, or do not."""

    system: System
    watch_s: float
    """After a fault, until every connection that can live on has spoken."""
    ordinary = False

    @property
    def name(self) -> str:
        """For tables."""
        return self.system.name

    def boot(self, lab: Lab, node: str) -> None:
        """A node that has got power starts to work."""
        natrules.load(lab, node)
        if self.ordinary:
            namespace = lab.topology.namespace(node)
            netns.write_sysctls(namespace, {"net/netfilter/nf_conntrack_tcp_loose": "1"})
            netns.nft(namespace, "flush chain inet proof input\n")
        self.system.start(lab, node)

    @abstractmethod
    def is_synced(self, lab: Lab, count: int) -> bool:
        """fw2 has the states of fw1, of which there are at least so many."""


class Product(Subject):
    """This project, with or without pfsync."""

    watch_s = 3.0

    def __init__(self, *, pfsync: bool) -> None:
        self._pfsync = pfsync
        self._ours = Ours()
        self.system = Stateful() if pfsync else Appliance()
        self.system.name = "appliance" if pfsync else "appliance without pfsync"

    def is_synced(self, lab: Lab, count: int) -> bool:
        if not self._pfsync:
            return True
        return all(self._ours.is_ready(lab, node) for node in NODES) and natrules.entries(lab, "fw2") >= count


class Stateful(Appliance):
    """The example cluster with ``[pfsync]``."""

    def make_lab(self, name: str) -> Lab:
        return Lab(Topology(name=name), settings=NodeSettings(pfsync={}))


class Rival(Subject):
    """keepalived, and conntrackd as its authors advise."""

    def __init__(self, recipe: Recipe, interval_s: float) -> None:
        self._recipe = recipe
        self.system = KeepalivedWithStates(recipe, interval_s)
        self.watch_s = RETRY_S if interval_s < 0.5 else 2 * RETRY_S + 1.0

    def is_synced(self, lab: Lab, count: int) -> bool:
        return (natrules.entries(lab, "fw2") if self._recipe.direct else cached(lab, "fw2")) >= count


class KeepalivedWithStates(Keepalived):
    """keepalived whose transitions give conntrackd its orders."""

    def __init__(self, recipe: Recipe, interval_s: float) -> None:
        super().__init__(2 if interval_s >= 1 else 3, interval_s)
        self.name = f"keepalived {interval_s:g} s + {recipe.name}"
        self._recipe = recipe

    def make_lab(self, name: str) -> Lab:
        return Lab(Topology(name=name), software=self.software)

    def start(self, lab: Lab, node: str) -> None:
        if not conntrackd_pids(lab, node):
            start_conntrackd(lab, node, self._recipe)
        run = lab.directory / f"{node}-keepalived"
        config = run.with_suffix(".conf")
        config.write_text(self._config(lab, node))
        for left in lab.directory.glob(f"{run.name}*.pid"):
            left.unlink()
        argv = ["keepalived", "--dont-fork", "--log-console", "--vrrp", "--use-file", str(config)]
        argv += ["--pid", f"{run}.pid", "--vrrp_pid", f"{run}-vrrp.pid", "--checkers_pid", f"{run}-check.pid"]
        lab.spawn(node, argv, log=run.with_suffix(".log"))

    def _config(self, lab: Lab, node: str) -> str:
        six = {net.device: net.vips[0][2][1] for net in (LAN, WAN)}
        instances = "".join(
            f"vrrp_instance {device} {{\n state BACKUP\n interface {device}\n use_vmac\n virtual_router_id {vhid}\n"
            f" priority {200 if node == 'fw1' else 100}\n advert_int {self._interval_s:g}\n"
            f" preempt_delay {PREEMPT_DELAY_S}\n virtual_ipaddress {{\n  {vip}\n }}\n"
            f" virtual_ipaddress_excluded {{\n  {six[device]}\n }}\n}}\n"
            for device, (vip, vhid, _) in ADDRESSES.items()
        )
        orders = self._orders(lab, node)
        notify = "".join(f' notify_{state} "{orders} {state}"\n' for state in ("master", "backup", "fault"))
        return (
            f"global_defs {{\n router_id {node}\n vrrp_version {self._version}\n vrrp_rt_priority 50\n"
            f" script_user root\n}}\n"
            f"vrrp_sync_group all {{\n group {{\n  {' '.join(ADDRESSES)}\n }}\n{notify}}}\n{instances}"
        )

    def _orders(self, lab: Lab, node: str) -> str:
        """What conntrackd's manual has the transitions do: a new master commits its external cache to the kernel,
        flushes its caches, resynchronises with the kernel and sends everything; a new backup shortens its timers and
        asks for everything. Without an external cache there is nothing to commit, and timers must not be shortened.
        """
        direct = self._recipe.direct
        say = f"conntrackd -C {lab.directory / f'{node}-conntrackd.conf'}"
        master, backup = ("-R -B", "-n") if direct else ("-c -f -R -B", "-t -n")
        script = lab.directory / f"{node}-orders"
        script.write_text(
            f'#!/bin/sh\ncase "$1" in\nmaster) orders="{master}" ;;\nbackup) orders="{backup}" ;;\n'
            f'*) orders="{"" if direct else "-t"}" ;;\nesac\nfor order in $orders; do {say} $order; done\n'
        )
        script.chmod(0o755)
        return str(script)


def subjects(options: Options) -> list[Subject]:
    """What is compared."""
    made: dict[str, Callable[[], Subject]] = {
        "ours": lambda: Product(pfsync=True),
        "without": lambda: Product(pfsync=False),
        "recipe": lambda: Rival(FTFW, options.interval_s),
        "direct": lambda: Rival(FTFW_DIRECT, options.interval_s),
    }
    return [made[name]() for name in options.systems]


def measure(options: Options, say: Say) -> list[Outcome]:
    """All systems and sizes, each pair in a lab of its own."""
    found: list[Outcome] = []
    require_conntrackd()
    with room_for_states():
        for subject in subjects(options):
            subject.ordinary = options.ordinary
            for size in options.sizes:
                outcomes = {s: Outcome(system=subject.name, size=size, scenario=s) for s in options.scenarios}
                found += outcomes.values()
                runs = options.peer_runs if isinstance(subject, Rival) else options.runs
                _in_labs(subject, size, outcomes, runs, say)
                for outcome in outcomes.values():
                    say("  " + _line(outcome))
    return found


def _in_labs(subject: Subject, size: int, outcomes: dict[str, Outcome], runs: int, say: Say) -> None:
    """One lab serves until something goes wrong in it; then the next trial gets a new one."""
    left = [s for _ in range(runs) for s in outcomes if s != "fail-back" or "death" not in outcomes]
    tries = len(left) + runs
    while left and tries > 0:
        with subject.system.make_lab(unique_name("b")) as lab:
            try:
                for node in NODES:
                    subject.boot(lab, node)
                while left:
                    tries -= 1
                    _Trial(subject, lab, size, say).run(left[0], outcomes)
                    left.pop(0)
            except (ApplianceError, RuntimeError) as error:
                say(f"  {subject.name} {size} {left[0]}: not counted, a new lab: {str(error).splitlines()[0]}")
                tries -= 1


class _Trial:
    """One fault and its end."""

    def __init__(self, subject: Subject, lab: Lab, size: int, say: Say) -> None:
        self._subject, self._lab, self._size, self._say = subject, lab, size, say

    def run(self, scenario: str, outcomes: dict[str, Outcome]) -> None:
        """Raises ApplianceError when the lab is not fit for another one."""
        self._prepare()
        if scenario == "fail-back":  # without looking at the death before it
            self._lab.power_off("fw1")
            time.sleep(self._subject.watch_s)
        else:
            self._watch(outcomes[scenario], lambda: self._cause(scenario), FAULT_S)
        if scenario in ("death", "fail-back"):
            if "fail-back" in outcomes:
                self._watch(outcomes["fail-back"], self._come_back, BACK_S)
            else:
                self._come_back()
        else:
            self._undo(scenario)

    def _prepare(self) -> None:
        lab, size = self._lab, self._size
        self._subject.system.wait_settled(lab)
        if size:
            flows.sink(lab)
            self._fill()
        if not until(lambda: self._subject.is_synced(lab, int(0.99 * size)), SYNCED_S):
            self._say(f"  {self._subject.name} {size}: fw2 did not get all states in {SYNCED_S:.0f} s")

    def _fill(self) -> None:
        lab, half = self._lab, self._size // 2
        for _ in range(FILL_ROUNDS):
            if natrules.entries(lab, "fw1") >= self._size:
                return
            for kind, rate in FILL_RATES.items():
                flows.run(lab, kind, half, rate=rate)
        raise RuntimeError(f"fw1 tracks {natrules.entries(lab, 'fw1')} flows, {self._size} are wanted")

    def _watch(self, outcome: Outcome, fault: Callable[[], None], longest_s: float) -> None:
        with opened(self._lab, longest_s + self._subject.watch_s) as connections:
            start = time.monotonic()
            time.sleep(0.3 + random.random() * 1.1)  # a random phase of the heartbeat
            fault()
            if time.monotonic() - start > longest_s:
                raise ApplianceError(f"it took more than {longest_s:.0f} s", hint="Is the machine busy?")
            time.sleep(self._subject.watch_s)
            connections.stop()
        outcome.add(connections)
        if connections.lost:
            self._say(f"  {outcome.system} {outcome.size} {outcome.scenario}: lost {'; '.join(connections.lost)}")

    def _cause(self, scenario: str) -> None:
        lab, system = self._lab, self._subject.system
        if scenario == "death":
            lab.power_off("fw1")
        elif scenario == "cable":
            lab.pull("fw1", "wan")
        elif scenario == "planned":
            system.hand_over(lab)
        else:
            system.kill(lab, "fw1")

    def _come_back(self) -> None:
        self._lab.power_on("fw1")
        self._subject.boot(self._lab, "fw1")
        self._subject.system.wait_settled(self._lab)

    def _undo(self, scenario: str) -> None:
        if scenario == "cable":
            self._lab.plug("fw1", "wan")
        elif scenario == "planned":
            self._subject.system.restore(self._lab)
        else:
            self._subject.system.restore_killed(self._lab)
        self._subject.system.wait_settled(self._lab)


def table(found: Sequence[Outcome]) -> str:
    """Markdown: lost connections, then the longest silences."""
    scenarios = list(dict.fromkeys(each.scenario for each in found))
    rows = [
        "Lost connections of all (trials); longest silence in ms of a UDP stream, median / max; of a download, "
        "median / max:", "",
        "| system | states | " + " | ".join(scenarios) + " |", "|---" * (2 + len(scenarios)) + "|",
    ]  # fmt: skip
    for system, size in dict.fromkeys((each.system, each.size) for each in found):
        cells = [_cell(each) for each in found if (each.system, each.size) == (system, size)]
        rows.append(f"| {system} | {size} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _cell(outcome: Outcome) -> str:
    trials = len(outcome.lost)
    if not trials:
        return "-"
    lost = sum(map(len, outcome.lost))
    udp, download = _pair(outcome.udp_ms), _pair(outcome.download_ms)
    return f"**{lost}** of {trials * CONNECTIONS} ({trials}); {udp}; {download}"


def _pair(values: list[float]) -> str:
    return " / ".join("dead" if math.isinf(v) else f"{v:.0f}" for v in (middle(values), max(values)))


def _line(outcome: Outcome) -> str:
    return f"{outcome.system:<52} {outcome.size:>7} {outcome.scenario:<10} {_cell(outcome)}"
