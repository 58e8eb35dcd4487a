"""`image boot`: one node, or two as a cluster, in qemu, with their consoles on this terminal."""

from __future__ import annotations

import contextlib
import re
import selectors
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from appliance.errors import UsageError
from appliance.lab.config import NodeSettings, node_toml
from appliance.lab.topology import Topology
from appliance_images import attach
from appliance_images.hub import Hub, Segment
from appliance_images.qemu import FIRST_NIC_SLOT, Hardware, VirtualMachine

NODES = ("fw1", "fw2")
SEGMENTS = ("wan", "lan", "sync")
"""In the order of the network cards."""
END = "quit"
READ_BYTES = 65536


def example_config(node: str) -> str:
    """The example cluster's configuration of this node, for the network cards of our virtual machines."""
    extra = '[pfsync]\ninterface = "sync"\n[upgrade]\ninterface = "sync"\n'
    settings = NodeSettings(firewall=True, xmlrpc_sync=True, extra=extra)
    text = node_toml(Topology(name="image"), node, settings)
    for number, segment in enumerate(SEGMENTS):
        text = text.replace(f'device = "{segment}0"', f'device = "ens{FIRST_NIC_SLOT + number}"')
    return re.sub(r"^# Written by .*\n", "# The example cluster.\n", text)


def run_session(image: Path, *, cluster: bool, configs: Sequence[Path], uefi: bool, kvm: bool) -> int:
    """Start the machines and pass lines between their consoles and this terminal, until ``quit`` or their end.

    Raises:
        ApplianceError: The image or a configuration is missing, or qemu does not start.
    """
    names = NODES if cluster else NODES[:1]
    if not image.is_file():
        raise UsageError(f"there is no image {image}", hint="`appliance image build` makes one.")
    if configs and len(configs) != len(names):
        raise UsageError(f"{len(names)} nodes need as many configurations, and {len(configs)} were named",
                         hint="Name one for each node, with commas: --configs fw1.toml,fw2.toml")  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="appliance-image-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        given = list(configs)
        if cluster and not given:
            given = [write_example(folder, node) for node in names]
        hub = stack.enter_context(Hub(Segment(folder, segment, names) for segment in SEGMENTS))
        machines = [
            stack.enter_context(VirtualMachine(hardware))
            for hardware in machines_of(image, folder, hub, names, given, uefi=uefi, kvm=kvm)
        ]
        if sys.stdin.isatty() and sys.stdout.isatty():
            attach.attend({machine.hardware.name: machine.console for machine in machines})
            return 0
        return attend(machines)


def write_example(folder: Path, node: str) -> Path:
    """The example's configuration as a file."""
    path = folder / f"{node}.toml"
    path.write_text(example_config(node))
    return path


def machines_of(
    image: Path, folder: Path, hub: Hub, names: Sequence[str], configs: Sequence[Path], *, uefi: bool, kvm: bool
) -> Iterator[Hardware]:
    """One machine for each name, connected to every segment."""
    for number, name in enumerate(names):
        yield Hardware(
            disk=image,
            folder=folder,
            name=name,
            uefi=uefi,
            kvm=kvm,
            netdevs=[hub.segments[segment].netdev(name, f"net{card}") for card, segment in enumerate(SEGMENTS)],
            config=configs[number] if configs else None,
        )


def attend(machines: Sequence[VirtualMachine]) -> int:
    """Without a terminal: print what the consoles say, each line with its machine's name, and type lines from a pipe.

    A line begins with the name of the machine it is for; with one machine it needs none.
    """
    by_name = {machine.hardware.name: machine for machine in machines}
    sys.stdout.write(f"{', '.join(by_name)} started; {_how(machines)}; `{END}` ends.\n")
    sys.stdout.flush()
    waiting = dict.fromkeys(by_name, b"")
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ, None)
        for machine in machines:
            selector.register(machine.console, selectors.EVENT_READ, machine)
        while by_name:
            for key, _ in selector.select():
                machine = key.data
                if machine is None:
                    line = sys.stdin.readline()
                    if not line or line.strip() == END:
                        return 0
                    _type(line.rstrip("\n"), by_name)
                elif not _show(machine, waiting):
                    selector.unregister(machine.console)
                    del by_name[machine.hardware.name]
    return 0


def _how(machines: Sequence[VirtualMachine]) -> str:
    if len(machines) == 1:
        return "what you type goes to its console"
    return "begin a line with the name of the node it is for, such as `fw2 show carp`"


def _type(line: str, machines: dict[str, VirtualMachine]) -> None:
    name, _, rest = line.partition(" ")
    if name in machines and len(machines) > 1:
        machines[name].send(rest)
    else:
        next(iter(machines.values())).send(line)


def _show(machine: VirtualMachine, waiting: dict[str, bytes]) -> bool:
    """Print what a console says, whole lines; false at its end."""
    name = machine.hardware.name
    try:
        data = machine.console.recv(READ_BYTES)
    except OSError:
        data = b""
    *lines, waiting[name] = (waiting[name] + data).split(b"\n")
    if not data:
        lines.append(waiting[name] + b" (the machine has ended)")
    for line in lines:
        text = line.decode(errors="replace").replace("\r", "")
        sys.stdout.write(f"{name}| {''.join(char for char in text if char.isprintable())}\n")
    sys.stdout.flush()
    return bool(data)
