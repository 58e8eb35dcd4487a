"""One laboratory on this machine: built, used, and taken down again without a trace.

Everything it makes carries its name: namespaces ``lab-NAME-ROLE`` and the directory
``/run/appliance-lab/NAME``. Several labs run side by side. `Lab` is a context manager for tests and
can be opened by name from another process (`Lab.open`), which is what the command line does.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar

from appliance.errors import RefusedError, UnreachableError, UsageError
from appliance.lab import captures, faults, netns, power, probes, waiting
from appliance.lab.config import LABS_DIR as LABS_DIR
from appliance.lab.config import NodeSettings, key_path, node_toml
from appliance.lab.measure import ProbeKind
from appliance.lab.plan import Plan, Software, build_plan, node_plan
from appliance.lab.topology import Topology

MKDIR_TRIES = 5
_numbers = itertools.count(1)
JsonObject = dict[str, object]
T = TypeVar("T")


def unique_name(prefix: str = "t") -> str:
    """A name that no other lab has while this process lives."""
    return f"{prefix}{os.getpid()}-{next(_numbers)}"


def all_roles() -> frozenset[str]:
    """Every role that a namespace of any lab can have: what `down` looks for, and nothing else."""
    largest = [Topology(nodes=n, second_wan=True, dmz=True, second_switch=True) for n in (2, 3)]
    return frozenset(role for t in largest for role in (*t.machines, *t.switches)) | {faults.ROGUE}


class Lab:
    """The example cluster, or a variant of it.

    Args:
        topology: Which parts it has, and its name.
        software: What runs on the nodes.
        settings: How the nodes' files differ from the example's; for all nodes, or by node.
        pcap: Capture every switch port from the beginning into ``DIRECTORY/pcap``.
        keep_logs: Where `down` copies the lab's directory before it removes it.
    """

    def __init__(
        self,
        topology: Topology | None = None,
        *,
        software: Software = Software.APPLIANCE,
        settings: NodeSettings | Mapping[str, NodeSettings] | None = None,
        pcap: bool = False,
        keep_logs: Path | None = None,
    ) -> None:
        self.topology = topology or Topology(name=unique_name())
        self.software = software
        self.keep_logs = keep_logs
        self._settings = settings
        self._pcap = pcap

    # ---- life ----------------------------------------------------------------------------------

    @classmethod
    def open(cls, name: str = "default") -> Self:
        """A lab that another process has built."""
        try:
            facts = json.loads((LABS_DIR / name / "lab.json").read_text())
        except (OSError, ValueError) as missing:
            raise UnreachableError(
                f"no lab {name!r} is up", hint=f"Build it: appliance lab up{_option(name)}"
            ) from missing
        return cls(Topology(**facts["topology"]), software=Software(facts["software"]))

    @property
    def name(self) -> str:
        """Name of the lab."""
        return self.topology.name

    @property
    def directory(self) -> Path:
        """Where everything of this lab lives."""
        return LABS_DIR / self.name

    def up(self) -> None:
        """Builds everything and starts the nodes; does not wait for roles. A failure leaves nothing behind."""
        netns.require_tools()
        if self.directory.exists() or self.namespaces():
            raise RefusedError(
                f"lab {self.name!r} is there already, or its remains are",
                hint=f"Remove it first: appliance lab down{_option(self.name)}",
            )
        try:
            self._build()
        except BaseException:
            self.down()
            raise

    def _build(self) -> None:
        self._make_directory()
        facts = {"topology": asdict(self.topology), "software": self.software, "faults": []}
        (self.directory / "lab.json").write_text(json.dumps(facts))
        _write_secret(key_path(self.topology))
        for node in self.topology.node_names:
            folder = self.node_dir(node)
            (folder / "state").mkdir(parents=True)
            chosen = self._settings.get(node) if isinstance(self._settings, Mapping) else self._settings
            self.config_path(node).write_text(node_toml(self.topology, node, chosen))
        self.execute(build_plan(self.topology, self.software))
        if self._pcap:
            captures.start(self)
        for node in self.topology.node_names:
            self.start_init(node)

    def _make_directory(self) -> None:
        for _ in range(MKDIR_TRIES):
            # The last lab that is taken down at this moment removes the common parent.
            with suppress(FileNotFoundError):
                self.directory.mkdir(parents=True)
                return
        raise RefusedError(
            f"cannot create {self.directory}", hint="Another lab is being removed all the time; try again."
        )

    def execute(self, plan: Plan) -> None:
        """Runs a plan."""
        netns.batch("ip", None, [f"netns add {name}" for name in plan.namespaces])
        netns.batch("ip", None, plan.main)
        for namespace, settings in plan.sysctls.items():
            netns.write_sysctls(namespace, settings)
        for namespace, lines in (*plan.inside.items(), *plan.settle.items()):
            netns.batch("ip", namespace, lines)

    def down(self) -> None:
        """Removes everything, whatever state it is in. Twice is once."""
        mine = self.namespaces()
        if self.keep_logs is not None:
            captures.stop(self)
        for namespace in mine:
            role = namespace.removeprefix(self.topology.namespace(""))
            init = self.init_facts(role).get("init") if role in self.topology.node_names else None
            netns.kill_all(namespace, first=[init] if isinstance(init, int) and init in netns.pids(namespace) else [])
        if self.keep_logs is not None and self.directory.exists():
            shutil.copytree(self.directory, self.keep_logs / self.name, dirs_exist_ok=True, ignore=_without_sockets)
        netns.delete(mine)
        shutil.rmtree(self.directory, ignore_errors=True)
        with suppress(OSError):  # other labs are in it, or it is gone
            LABS_DIR.rmdir()

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.down()

    def processes(self) -> tuple[int, ...]:
        """Everything that runs in the namespaces of this lab."""
        return tuple(pid for namespace in self.namespaces() for pid in netns.pids(namespace))

    def remains(self, processes: Sequence[int] = ()) -> tuple[str, ...]:
        """What there still is of this lab, and of these processes of it; nothing after `down`."""
        alive = [pid for pid in processes if netns.is_alive(pid)]
        files = [str(self.directory)] if self.directory.exists() else []
        return (*self.namespaces(), *files, *(f"process {pid}" for pid in alive))

    def namespaces(self) -> tuple[str, ...]:
        """Full names of the namespaces of this lab that exist."""
        prefix = self.topology.namespace("")
        roles = all_roles()
        return tuple(name for name in netns.named(prefix) if name.removeprefix(prefix) in roles)

    # ---- nodes ---------------------------------------------------------------------------------

    def node_dir(self, node: str) -> Path:
        """Directory of a node."""
        return self.directory / node

    def config_path(self, node: str) -> Path:
        """The node's `appliance.toml`."""
        return self.node_dir(node) / "appliance.toml"

    def state_dir(self, node: str) -> Path:
        """What the node keeps over restarts and power failures."""
        return self.node_dir(node) / "state"

    def socket(self, node: str) -> Path:
        """The node's control socket."""
        return self.node_dir(node) / "control.sock"

    def log(self, node: str) -> Path:
        """What the node printed."""
        return self.node_dir(node) / "node.log"

    def command(self, node: str) -> tuple[str, ...]:
        """How the node's software is started."""
        script = Path(sys.executable).with_name("appliance")
        started = ("-c", "from appliance.cli import main; raise SystemExit(main())")
        program = (sys.executable, str(script)) if script.exists() else (sys.executable, *started)
        return (
            *(*program, "run"),
            *("-c", str(self.config_path(node))),
            *("--state-dir", str(self.state_dir(node))),
            *("--socket", str(self.socket(node))),
        )

    def start_init(self, node: str) -> None:
        """Starts a node's first process, which starts its software; a session of its own, it outlives us."""
        if self.software is not Software.APPLIANCE:
            return
        folder = self.node_dir(node)
        argv = [sys.executable, "-m", "appliance.lab.init", "--dir", str(folder), "--", *self.command(node)]
        self.spawn(node, argv, log=folder / "init.log")

    def init_facts(self, node: str) -> JsonObject:
        """What the node's init knows: ``state``, ``init``, ``pid``, ``starts``, ``last``."""
        try:
            facts: JsonObject = json.loads((self.node_dir(node) / "init.json").read_text())
        except (OSError, ValueError):
            return {}
        return facts

    def environment(self, role: str) -> dict[str, str]:
        """Environment of what runs in a namespace of the lab."""
        extra = {"APPLIANCE_LAB": self.name, "APPLIANCE_LAB_ROLE": role}
        if role in self.topology.node_names:
            extra["APPLIANCE_SOCKET"] = str(self.socket(role))
        path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}"
        return os.environ | extra | {"PATH": path}

    # ---- running things ------------------------------------------------------------------------

    def argv(self, role: str, argv: Sequence[str]) -> list[str]:
        """The command line that runs a command in a namespace of the lab."""
        return ["ip", "netns", "exec", self.topology.namespace(role), *argv]

    def exec(
        self, role: str, *argv: str, check: bool = True, timeout_s: float = 30.0
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command on a machine or switch to its end."""
        self._require(role)
        done = subprocess.run(
            self.argv(role, argv),
            env=self.environment(role),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode != 0:
            raise RefusedError(
                f"{' '.join(argv)} on {role} ended with status {done.returncode}",
                hint=(done.stderr or done.stdout).strip() or "It printed nothing.",
            )
        return done

    def popen(
        self, role: str, *argv: str, stdin: int | IO[str] | None = subprocess.DEVNULL, stderr: int | None = None
    ) -> subprocess.Popen[str]:
        """Starts a command on a machine or switch; its standard output is a pipe. `down` ends it in any case."""
        self._require(role)

        def start() -> subprocess.Popen[str]:
            return subprocess.Popen(
                self.argv(role, argv),
                env=self.environment(role),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )

        return self._born_inside(role, start)

    def spawn(self, role: str, argv: Sequence[str], *, log: Path) -> int:
        """Starts a command that outlives this process, its output appended to a file; returns its pid."""
        self._require(role)
        full = self.argv(role, argv)

        def start() -> int:
            return os.posix_spawnp(
                full[0],
                full,
                self.environment(role),
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsid=True,
            )

        return self._born_inside(role, start)

    def _born_inside(self, role: str, start: Callable[[], T]) -> T:
        """Starts a process from within the namespace: `down` finds it there from its first moment.

        The command line still goes through ``ip netns exec``, which also gives it the right ``/sys``.
        """
        return netns.inside(self.topology.namespace(role), start)

    def _require(self, role: str) -> None:
        if role != faults.ROGUE:
            self.topology.role(role)
        if not netns.exists(self.topology.namespace(role)):
            raise UnreachableError(f"{role} of lab {self.name!r} has no power", hint=f"appliance lab power-on {role}")

    # ---- faults --------------------------------------------------------------------------------

    def faults_in_force(self) -> tuple[faults.Fault, ...]:
        """All faults of the network that have not been undone."""
        facts = json.loads((self.directory / "lab.json").read_text())
        return tuple(faults.fault_from_json(item) for item in facts["faults"])

    def cause(self, fault: faults.Fault) -> faults.Fault:
        """Puts a fault in force."""
        known = self.faults_in_force()
        if any(other.name == fault.name for other in known):
            raise RefusedError(f"{fault.name!r} is in force already", hint=f"appliance lab undo '{fault.name}'")
        self._remember((*known, fault))
        self._steps(fault.apply)
        return fault

    def undo(self, name: str) -> None:
        """Undoes a fault, by its name."""
        known = self.faults_in_force()
        found = [fault for fault in known if fault.name == name]
        if not found:
            names = ", ".join(fault.name for fault in known) or "none"
            raise UsageError(f"no fault {name!r} is in force", hint=f"In force: {names}.")
        self._steps(found[0].undo, force=not self.has_power(found[0].member))
        self._remember([fault for fault in known if fault.name != name])

    def undo_all(self) -> None:
        """Undoes every fault of the network."""
        for fault in reversed(self.faults_in_force()):
            self.undo(fault.name)

    @contextmanager
    def during(self, fault: faults.Fault) -> Iterator[faults.Fault]:
        """A fault that lasts as long as the block."""
        yield self.cause(fault)
        self.undo(fault.name)

    def pull(self, member: str, network: str, side: faults.Side = "switch") -> faults.Fault:
        """Pulls a cable; see `faults.pull`."""
        return self.cause(faults.pull(self.topology, member, network, side))

    def plug(self, member: str, network: str) -> None:
        """Plugs a pulled cable in again."""
        self.undo(f"pull {member} {self.topology.network(network).name}")

    def reapply_faults(self, member: str) -> None:
        """After power came back: cables that were pulled are still pulled."""
        for fault in self.faults_in_force():
            if fault.member == member:
                self._steps(fault.apply)

    def _remember(self, known: Sequence[faults.Fault]) -> None:
        path = self.directory / "lab.json"
        facts = json.loads(path.read_text()) | {"faults": [fault.to_json() for fault in known]}
        new = path.with_suffix(".new")
        new.write_text(json.dumps(facts))
        new.replace(path)

    def _steps(self, steps: Sequence[faults.Step], *, force: bool = False) -> None:
        for tool, role, lines in faults.grouped(tuple(steps)):
            namespace = self.topology.namespace(role) if role else None
            if namespace is not None and tool == "nft":
                netns.nft(namespace, "\n".join(lines), check=not force)
            elif namespace is None or not force or netns.exists(namespace):
                netns.batch(tool, namespace, lines, force=force)

    # ---- processes and power ---------------------------------------------------------------------

    def has_power(self, role: str) -> bool:
        """Whether a machine exists at the moment."""
        return netns.exists(self.topology.namespace(role))

    def kill(self, node: str, what: str = "main") -> tuple[int, ...]:
        """``kill -9`` of a node's main process, of ``all``, or of those whose name contains a word."""
        return power.kill(self, node, what)

    def freeze(self, node: str) -> None:
        """SIGSTOP to all processes of a node: a paused virtual machine whose kernel still answers."""
        power.freeze(self, node)

    def thaw(self, node: str) -> None:
        """SIGCONT to all processes of a node."""
        power.thaw(self, node)

    def power_off(self, node: str) -> None:
        """The plug is pulled: processes and kernel are gone, all neighbours lose carrier."""
        power.off(self, node)

    def power_on(self, node: str) -> None:
        """Power comes back: a new kernel, the same disk."""
        self.topology.ordinal(node)
        if self.has_power(node):
            raise RefusedError(f"{node} has power already", hint=f"appliance lab power-off {node}")
        self.execute(node_plan(self.topology, node, self.software))
        self.reapply_faults(node)
        self.start_init(node)

    def stop(self, node: str) -> None:
        """Stops a node's software in an orderly way and waits until it is stopped."""
        power.stop(self, node)

    def start(self, node: str) -> None:
        """Starts a node's software after `stop`."""
        power.start(self, node)

    # ---- traffic -------------------------------------------------------------------------------

    def probe(
        self,
        kind: ProbeKind | str = ProbeKind.UDP,
        *,
        seconds: float = 60.0,
        source: str = "client",
        target: str = "server",
        family: int = 4,
        rate: int = 0,
    ) -> probes.RunningProbe:
        """Starts traffic through the firewalls; see `probes.start`."""
        return probes.start(self, kind, seconds=seconds, source=source, target=target, family=family, rate=rate)

    # ---- looking and waiting ---------------------------------------------------------------------

    def request(self, node: str, *argv: str) -> JsonObject:
        """Asks a node through its control socket; the answer is the JSON that ``--json`` prints."""
        return waiting.request(self, node, argv)

    def view(self) -> dict[str, JsonObject]:
        """``show carp`` of every node that answers."""
        return waiting.view(self)

    def wait_for(
        self, predicate: waiting.Predicate, what: str, deadline_s: float = waiting.DEADLINE_S
    ) -> dict[str, JsonObject]:
        """Polls all nodes until the predicate holds for what they say; see `waiting.wait_for`."""
        return waiting.wait_for(self, predicate, what, deadline_s)

    def wait_settled(self, master: str = "fw1", deadline_s: float = waiting.DEADLINE_S) -> dict[str, JsonObject]:
        """Until this node is MASTER of everything and every other node that has power is BACKUP."""
        others = [n for n in self.topology.node_names if n != master and self.has_power(n)]
        return waiting.wait_for(
            self,
            lambda view: waiting.is_settled(view, master, others),
            f"{master} is the only master",
            deadline_s,
            needed=(master, *others),
        )


def _option(name: str) -> str:
    return "" if name == "default" else f" --name {name}"


def _write_secret(path: Path) -> None:
    """A key file as pfsync wants it: one secret, readable by nobody else."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"lab = {secrets.token_hex(32)}\n")


def _without_sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if Path(folder, name).is_socket()]
