"""``appliance lab …``: the laboratory by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.errors import ApplianceError, UsageError
from appliance.plugin.contributions import Argument, Command, Where

if TYPE_CHECKING:
    from appliance.lab.faults import Fault
    from appliance.lab.lab import Lab
    from appliance.lab.topology import Topology

NAME = Argument(name="--name", help="which lab, when there are several", default="default")
NODE = Argument(name="node", help="fw1, fw2, fw3", required=True)
MACHINE = Argument(name="machine", help="fw1, fw2, client, server …", required=True)
NETWORK = Argument(name="network", help="wan, lan, sync, wan2, dmz", required=True)
JSON = Argument(name="--json", flag=True, help="print JSON")
KEEP_LOGS = Argument(name="--keep-logs", help="copy logs, configurations and captures into this directory at the end")
SHELL_ON_ERROR = Argument(name="--shell-on-error", help="when something fails, open a shell on this node first")
PAUSE = Argument(name="--pause", flag=True, help="wait for Enter")
PCAP = Argument(name="--pcap", flag=True, help="capture every link at the switches")


def _open(name: str) -> Lab:
    from appliance.lab.lab import Lab

    return Lab.open(name)


def _say(text: str) -> int:
    print(text)
    return 0


def wait_for_enter(text: str) -> None:
    """Lets a person look around; without a terminal it goes on at once."""
    with suppress(EOFError):
        input(f"{text} Press Enter to go on. ")


def open_shell(lab: Lab, role: str) -> int:
    """An interactive shell on a machine of the lab, until it is left."""
    environment = lab.environment(role) | {"PS1": f"{role}@{lab.name}:\\w\\$ "}
    return subprocess.call(lab.argv(role, ["bash", "--norc", "-i"]), env=environment)


def up(
    *,
    name: str,
    nodes: int,
    no_ipv6: bool,
    second_wan: bool,
    dmz: bool,
    second_switch: bool,
    profile: str,
    no_preempt: bool,
    routers: bool,
    pcap: bool,
    pause: bool,
    shell_on_error: str | None,
    keep_logs: str | None,
) -> int:
    """Builds a lab and waits until its roles are settled."""
    from appliance.lab import Lab, Software, Topology
    from appliance.lab.config import whole
    from appliance.lab.pairing import pair_all
    from appliance.lab.waiting import describe

    topology = Topology(
        name=name, nodes=nodes, ipv6=not no_ipv6, second_wan=second_wan, dmz=dmz, second_switch=second_switch
    )
    software = Software.ROUTER if routers else Software.APPLIANCE
    settings = whole(topology, profile=profile, preempt=not no_preempt)
    lab = Lab(topology, software=software, settings=settings, pcap=pcap)
    lab.up()
    try:
        seen = "fw1 is a plain router that holds the addresses"
        if not routers:
            seen = describe(lab.wait_settled())
            if nodes > 1:
                pair_all(lab)
                seen += "; paired, fw1's configuration goes to all"
    except (ApplianceError, KeyboardInterrupt) as error:
        if shell_on_error:
            print(error)
            open_shell(lab, shell_on_error)
        lab.keep_logs = Path(keep_logs) if keep_logs else None
        lab.down()
        raise
    print(f"Lab {name!r} is up: {seen}.")
    print(_next_steps(name))
    if pause:
        lab.keep_logs = Path(keep_logs) if keep_logs else None
        try:
            wait_for_enter("The lab is taken down afterwards.")
        finally:
            lab.down()
    return 0


def _next_steps(name: str) -> str:
    option = "" if name == "default" else f" --name {name}"
    return "\n".join(
        (
            f"  appliance lab exec{option} fw1 appliance show ha    what a node says",
            f"  appliance lab pull{option} fw1 wan                  pull a cable; `plug` to put it back",
            f"  appliance lab probe{option} udp --seconds 5         what a client notices",
            f"  appliance lab shell{option} fw2                     look around",
            f"  appliance lab down{option}                          remove everything",
        )
    )


def down(*, name: str, keep_logs: str | None, every: bool) -> int:
    """Removes a lab, or what is left of it."""
    from appliance.lab.lab import LABS_DIR, Lab
    from appliance.lab.topology import Topology

    names = sorted(path.name for path in LABS_DIR.iterdir()) if every and LABS_DIR.is_dir() else [name]
    for chosen in names:
        lab = Lab(Topology(name=chosen), keep_logs=Path(keep_logs) if keep_logs else None)
        found = lab.directory.exists() or lab.namespaces()
        lab.down()
        print(f"Lab {chosen!r} is gone." if found else f"There was no lab {chosen!r}.")
    return 0


def status(*, name: str, json: bool) -> int:
    """What the lab looks like."""
    from appliance.lab.status import collect, text

    facts = collect(_open(name))
    return _say(_dump(facts) if json else text(facts))


def _dump(facts: object) -> str:
    return json.dumps(facts, indent=2)


def shell(*, node: str, name: str) -> int:
    """A shell on a machine."""
    lab = _open(name)
    lab.topology.role(node)
    return open_shell(lab, node)


def execute(*, node: str, command: tuple[str, ...], name: str) -> int:
    """Runs a command on a machine."""
    if not command:
        raise UsageError("no command given", hint="For example: appliance lab exec fw1 appliance show ha")
    lab = _open(name)
    lab.topology.role(node)
    return subprocess.call(lab.argv(node, command), env=lab.environment(node))


def _cause(name: str, make: Callable[[Topology], Fault]) -> int:
    lab = _open(name)
    fault = lab.cause(make(lab.topology))
    return _say(f"{fault.name}: {fault.effect}.")


def pull(*, machine: str, network: str, side: str, name: str) -> int:
    """Pulls a cable."""
    from appliance.lab import faults

    sides: dict[str, faults.Side] = {"switch": "switch", "node": "node", "blocked": "blocked"}
    return _cause(name, lambda topology: faults.pull(topology, machine, network, sides[side]))


def plug(*, machine: str, network: str, name: str) -> int:
    """Plugs a cable in again."""
    _open(name).plug(machine, network)
    return _say(f"The {network} cable of {machine} is plugged in.")


def cut(*, switch: str, name: str) -> int:
    """Takes the power of a switch."""
    from appliance.lab import faults

    return _cause(name, lambda topology: faults.cut_switch(topology, switch))


def lose(*, machine: str, network: str, direction: str, percent: int, name: str) -> int:
    """Loses frames."""
    from appliance.lab import faults

    directions: dict[str, faults.Direction] = {"from": "from", "to": "to", "both": "both"}
    return _cause(
        name, lambda topology: faults.lose(topology, machine, network, directions[direction], percent=percent)
    )


def loop(*, machine: str, network: str, name: str) -> int:
    """Echoes frames."""
    from appliance.lab import faults

    return _cause(name, lambda topology: faults.loop(topology, machine, network))


def flood(*, switch: str, name: str) -> int:
    """Makes a switch flood."""
    from appliance.lab import faults

    return _cause(name, lambda topology: faults.flood(topology, switch))


def duplicate(*, network: str, address: str, name: str) -> int:
    """Adds a machine that claims an address."""
    from appliance.lab import faults

    return _cause(name, lambda topology: faults.duplicate(topology, network, address))


def undo(*, fault: tuple[str, ...], name: str) -> int:
    """Undoes one fault or all."""
    lab = _open(name)
    if fault:
        lab.undo(" ".join(fault))
    else:
        lab.undo_all()
    left = ", ".join(other.name for other in lab.faults_in_force())
    return _say(f"Faults in force: {left or 'none'}.")


def kill(*, node: str, what: str, name: str) -> int:
    """kill -9."""
    killed = _open(name).kill(node, what)
    return _say(f"Killed {len(killed)} of {node}: {', '.join(str(pid) for pid in killed)}.")


def _node_action(method: str, done: str) -> Callable[..., int]:
    def action(*, node: str, name: str) -> int:
        getattr(_open(name), method)(node)
        return _say(done.format(node=node))

    return action


def probe(*, kind: str, seconds: float, ipv6: bool, source: str, target: str, name: str, json: bool) -> int:
    """Sends traffic and says what was lost."""
    lab = _open(name)
    with lab.probe(kind, seconds=seconds, source=source, target=target, family=6 if ipv6 else 4) as running:
        result = running.result()
    _say(_dump(result.to_json()) if json else f"{kind} from {source} to {target}: {result.sentence()}.")
    return 0 if result.survived else 1


def demo(*, pause: bool, shell_on_error: str | None, pcap: bool, keep_logs: str | None, profile: str) -> int:
    """The demonstration."""
    from appliance.lab.demo import Demo

    return Demo(
        pause=pause,
        shell_on_error=shell_on_error,
        pcap=pcap,
        keep_logs=Path(keep_logs) if keep_logs else None,
        profile=profile,
        colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ,
    ).run()


PROFILE = Argument(name="--profile", help="timers of all nodes", choices=("book", "fast"), default="book")
SWITCH_NAME = Argument(name="switch", help="lansw, wansw …", required=True)


def _command(words: str, summary: str, run: Callable[..., int], *arguments: Argument) -> Command:
    return Command(path=("lab", *words.split()), help=summary, run=run, arguments=arguments, where=Where.LOCAL)


COMMANDS: tuple[Command, ...] = (
    _command(
        "up",
        "build the example cluster in network namespaces on this machine",
        up,
        NAME,
        Argument(name="--nodes", help="1, 2 or 3", type=int, default=2),
        Argument(name="--no-ipv6", flag=True, help="IPv4 only"),
        Argument(name="--second-wan", flag=True, help="a second WAN, 203.0.113.0/24"),
        Argument(name="--dmz", flag=True, help="a DMZ, 192.168.2.0/24"),
        Argument(name="--second-switch", flag=True, help="two switches per network, joined by a trunk"),
        PROFILE,
        Argument(name="--no-preempt", flag=True, help="the preferred node does not take its addresses back"),
        Argument(name="--routers", flag=True, help="no software: fw1 is a plain router with the virtual addresses"),
        PCAP,
        PAUSE,
        SHELL_ON_ERROR,
        KEEP_LOGS,
    ),
    _command(
        "down",
        "remove a lab, also a broken one",
        down,
        NAME,
        KEEP_LOGS,
        Argument(name="--every", flag=True, help="remove all labs of this machine"),
    ),
    _command("status", "nodes, processes, links, faults in force", status, NAME, JSON),
    _command("shell", "a shell on a machine or switch", shell, NODE, NAME),
    _command(
        "exec",
        "run a command on a machine or switch",
        execute,
        NAME,
        NODE,
        Argument(name="command...", help="the command and its arguments", required=True),
    ),
    _command(
        "pull",
        "pull a cable",
        pull,
        MACHINE,
        NETWORK,
        Argument(
            name="--side",
            help="switch: the machine loses carrier; node: its interface is set down; blocked: nobody loses carrier",
            choices=("switch", "node", "blocked"),
            default="switch",
        ),
        NAME,
    ),
    _command("plug", "plug a pulled cable in again", plug, MACHINE, NETWORK, NAME),
    _command("cut", "take the power of a switch", cut, SWITCH_NAME, NAME),
    _command(
        "lose",
        "lose frames in one direction; the link stays up",
        lose,
        MACHINE,
        NETWORK,
        Argument(name="--direction", help="seen from the machine", choices=("from", "to", "both"), default="from"),
        Argument(name="--percent", help="random loss", type=int, default=100),
        NAME,
    ),
    _command("loop", "the switch echoes a machine's frames back to it", loop, MACHINE, NETWORK, NAME),
    _command("flood", "a switch that learns no addresses", flood, SWITCH_NAME, NAME),
    _command(
        "duplicate",
        "another machine claims an address",
        duplicate,
        NETWORK,
        Argument(name="address", help="with its prefix length", required=True),
        NAME,
    ),
    _command(
        "undo",
        "undo a fault, or all",
        undo,
        NAME,
        Argument(name="fault...", help="its name as `status` shows it"),
    ),
    _command(
        "kill",
        "kill -9 a node's main process, a child, or all",
        kill,
        NODE,
        Argument(
            name="what", help="main, all, or a word of a process's name in `status` (heartbeat, guard)", default="main"
        ),
        NAME,
    ),
    _command("freeze", "stop all processes of a node", _node_action("freeze", "{node} is frozen."), NODE, NAME),
    _command("thaw", "let a frozen node go on", _node_action("thaw", "{node} goes on."), NODE, NAME),
    _command("stop", "stop a node's software in an orderly way", _node_action("stop", "{node} stopped."), NODE, NAME),
    _command("start", "start a stopped node's software", _node_action("start", "{node} started."), NODE, NAME),
    _command("power-off", "take a node's power", _node_action("power_off", "{node} has no power."), NODE, NAME),
    _command("power-on", "give a node power again", _node_action("power_on", "{node} has power."), NODE, NAME),
    _command(
        "probe",
        "send traffic through the firewalls and say what was lost",
        probe,
        Argument(
            name="kind",
            help="which traffic",
            choices=("udp", "ping", "download", "interactive", "connections"),
            required=True,
        ),
        Argument(name="--seconds", help="for how long", type=float, default=10.0),
        Argument(name="--ipv6", flag=True, help="over IPv6"),
        Argument(name="--source", help="where the traffic starts", default="client"),
        Argument(name="--target", help="where it is answered", default="server"),
        NAME,
        JSON,
    ),
    _command(
        "demo",
        "watch a cluster fail over, with what a client loses; leaves nothing behind",
        demo,
        PAUSE,
        SHELL_ON_ERROR,
        PCAP,
        KEEP_LOGS,
        PROFILE,
    ),
)
