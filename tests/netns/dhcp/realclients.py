"""Machines on the lab's LAN that run the DHCP clients people have: udhcpc, dhclient, dhcpcd.

Each has a namespace of its own, and files and mounts of its own: nothing of the machine's is read or written. Their
scripts do nothing but take the address and write down what they were told.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.lab import Lab, netns
from appliance.lab.plan import SWITCH
from appliance.testing.netlab import LabNode, Netlab

DEVICE = "eth0"
KINDS = ("udhcpc", "dhclient", "dhcpcd")
GRANTED = ("bound", "renew", "BOUND", "RENEW", "REBIND", "REBOOT")
"""Reasons of the scripts that mean that a server said yes."""
GONE = ("deconfig", "nak", "leasefail", "EXPIRE", "FAIL", "TIMEOUT", "NAK", "RELEASE", "STOP")
"""Reasons of the scripts that mean that the address is lost, or was never there."""
# udhcpc gives the reason as an argument; dhclient and dhcpcd as a variable, and call the script for much besides.
SCRIPT = """#!/bin/sh
reason=${{reason:-$1}}
address=${{new_ip_address:-$ip}}
case "$reason" in PREINIT*|MEDIUM|CARRIER|NOCARRIER|ARP*) exit 0 ;; esac
if [ -n "$address" ]; then
    {take}
fi
read -r up rest < /proc/uptime
echo "$up|$reason|$address|${{new_dhcp_server_identifier:-$serverid}}|${{new_routers:-$router}}|\
${{new_domain_name_servers:-$dns}}" >> {log}
"""
TAKE = f'ip addr replace "$address/24" dev {DEVICE}'
# The folder with its script is in /run itself.
DHCPCD_MOUNTS = """set -e
mount --bind {folder} /mnt
mount -t tmpfs none /run
mkdir -p {folder} && mount --bind /mnt {folder}
mount -t tmpfs none /var/lib/dhcpcd
exec """
"""`dhcpcd` keeps files in places that no option changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One call of a client's script."""

    at: float
    """Seconds of `boot_time`."""
    reason: str
    address: str
    server: str
    router: str
    dns: str


def boot_time() -> float:
    """The clock of ``/proc/uptime``, in whole hundredths of a second as there."""
    return math.floor(time.clock_gettime(time.CLOCK_BOOTTIME) * 100) / 100


class Machine:
    """One machine with one client."""

    def __init__(self, lab: Lab, node: LabNode, kind: str, folder: Path) -> None:
        self.kind, self.node, self._log = kind, node, folder / f"{kind}.log"
        self._log.touch()
        port = f"pc-{kind}"
        node.run("ip", "link", "add", DEVICE, "type", "veth", "peer", "name", port, "netns",
                 str(netns.NETNS_DIR / lab.topology.namespace("lansw")))  # fmt: skip
        lab.exec("lansw", "ip", "link", "set", port, "master", SWITCH, "up")
        node.run("ip", "link", "set", DEVICE, "up")
        script = folder / f"{kind}.sh"
        script.write_text(SCRIPT.format(take=TAKE if kind != "dhcpcd" else ":", log=self._log))
        script.chmod(0o755)
        self._argv = _argv(kind, folder, script)
        self._process = node.start(*self._argv)

    def told(self) -> list[Told]:
        """Everything that its script was called for."""
        found = []
        for line in self._log.read_text().splitlines():
            up, reason, address, server, router, dns = line.split("|")
            found.append(Told(at=float(up), reason=reason, address=address, server=server, router=router, dns=dns))
        return found

    def leases(self, since: float = 0.0, server: str = "") -> list[Told]:
        """Grants since a moment, perhaps by one server."""
        return [
            each for each in self.told()
            if each.reason in GRANTED and each.at >= since and server in ("", each.server)
        ]  # fmt: skip

    def losses(self) -> list[Told]:
        """Calls that mean a lost address, after the first grant."""
        granted = min((each.at for each in self.leases()), default=float("inf"))
        return [each for each in self.told() if each.reason in GONE and each.at > granted]

    def addresses(self) -> set[str]:
        """All addresses it was ever given."""
        return {each.address for each in self.leases()}

    def renew(self) -> None:
        """Asks for the same address again: udhcpc renews, dhcpcd rebinds, dhclient comes back from a reboot."""
        if self.kind == "dhclient":
            self._process.kill()
            self._process.wait()
            self._process = self.node.start(*self._argv)
        else:
            self._process.send_signal(signal.SIGUSR1 if self.kind == "udhcpc" else signal.SIGHUP)


def _argv(kind: str, folder: Path, script: Path) -> Sequence[str]:
    if kind == "udhcpc":
        return ("udhcpc", "-f", "-i", DEVICE, "-s", str(script), "-T", "1", "-t", "30", "-x", "hostname:pc-udhcpc")
    if kind == "dhclient":
        config = folder / "dhclient.conf"
        config.write_text('timeout 60; retry 1; backoff-cutoff 2; initial-interval 1; send host-name "pc-dhclient";\n')
        files = ("-cf", str(config), "-lf", str(folder / "dhclient.leases"), "-pf", str(folder / "dhclient.pid"))
        return ("dhclient", "-4", "-d", *files, "-sf", str(script), DEVICE)
    # Without -y it gives its lease up when one lost question of a rebinding is not answered in 5 s.
    client = f"dhcpcd -4 -B --noarp -y 30 -h pc-dhcpcd -f /dev/null -c {script} {DEVICE}"
    return ("unshare", "-m", "sh", "-c", DHCPCD_MOUNTS.format(folder=folder) + client)


@contextmanager
def machines(lab: Lab, kinds: Sequence[str] = KINDS) -> Iterator[dict[str, Machine]]:
    """A machine for each kind of client, all started."""
    folder = lab.directory / "clients"
    folder.mkdir(exist_ok=True)
    with ExitStack() as stack:
        network = stack.enter_context(Netlab())
        stack.callback(_unplug, lab, kinds)
        yield {kind: Machine(lab, network.node(kind), kind, folder) for kind in kinds}


def _unplug(lab: Lab, kinds: Sequence[str]) -> None:
    for kind in kinds:
        lab.exec("lansw", "ip", "link", "del", f"pc-{kind}", check=False)
