"""Captures of every link of a lab, taken at the switch ports, one file each."""

from __future__ import annotations

import shutil
import signal
from typing import TYPE_CHECKING

from appliance.errors import KernelError
from appliance.lab import netns, waiting

if TYPE_CHECKING:
    from appliance.lab.lab import Lab


def start(lab: Lab) -> None:
    """Captures into ``DIRECTORY/pcap/SWITCH-PORT.pcap`` from now on, until `stop` or the end of the lab."""
    if shutil.which("tcpdump") is None:
        raise KernelError("captures need the command 'tcpdump'", hint="Install it: apt-get install tcpdump")
    folder = lab.directory / "pcap"
    folder.mkdir(exist_ok=True)
    log = folder / "tcpdump.log"
    cables = lab.topology.cables
    for cable in cables:
        file = folder / f"{cable.switch}-{cable.port}.pcap"
        # Each packet is written when it is seen: the file is complete even if the lab is killed.
        argv = ["tcpdump", "-i", cable.port, "-n", "-U", "--immediate-mode", "-Z", "root", "-w", str(file)]
        lab.spawn(cable.switch, argv, log=log)
    waiting.wait_until(
        lambda: log.exists() and log.read_text(errors="replace").count("listening on") >= len(cables),
        f"{len(cables)} captures listen ({log})",
    )


def stop(lab: Lab) -> None:
    """Ends the captures in an orderly way."""
    spaces = [lab.topology.namespace(switch) for switch in lab.topology.switches]
    running = [pid for space in spaces for pid in netns.pids(space) if netns.process_name(pid) == "tcpdump"]
    netns.send_signal(running, signal.SIGTERM)
    waiting.wait_until(lambda: not any(netns.is_alive(pid) for pid in running), "the captures end")
