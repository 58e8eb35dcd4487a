"""A lab whose nodes have users, a time zone, a clock and plugins that only they see.

The software of each node runs in a mount namespace of its own with a copy of ``/etc``; this machine's is not touched.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

from appliance.lab import Lab, NodeSettings
from appliance.lab.topology import LAN
from tests.netns.doctor.doing import Fault

GROUP = "appliance"
PEOPLE = ("eve", "mallory")
"""Who has an account on every node; eve is in `GROUP`, and in the table of users."""
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEqp0RKGmTVtzpjqKvxwZBqbMvMjbfWxwlDqg0qC2gPc olga"
TARGET = f"{LAN.prefix4}.{LAN.host4}", 8099
METRICS_PORT = 9640
EXTRA = f"""
[notify.webhook.somebody]
url = "http://{TARGET[0]}:{TARGET[1]}/"

[metrics]
listen = ["lan"]
port = {METRICS_PORT}

[ssh]
listen = ["lan"]

[users.olga]
role = "operator"
ssh_keys = ["{KEY}"]

[users.eve]
role = "viewer"

[gateways.group.out]
members = [{{ gateway = "wan_gw" }}]
"""
SETTINGS = NodeSettings(profile="fast", pfsync={}, firewall=True, xmlrpc_sync=True, dhcp={}, extra=EXTRA)
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
"""Of Debian's package libfaketime: reads ``/etc/faketimerc`` once a second, and leaves monotonic clocks alone."""
_MOUNTS = """\
set -e
mount --make-rprivate /
mount --bind {folder}/etc /etc
mkdir -p /run/appliance /var/lib/extrausers
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs -o mode=755 tmpfs /run/appliance
mount -t tmpfs -o mode=755 tmpfs /var/lib/extrausers
export PYTHONPATH={folder}/plugins LD_PRELOAD={faketime}
export FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_CACHE_DURATION=1 FAKETIME_DONT_RESET=1
[ ! -e {folder}/before-start ] || . {folder}/before-start
exec "$@"
"""


class PrivateLab(Lab):
    """A lab with such nodes."""

    def command(self, node: str) -> tuple[str, ...]:
        """Its software, behind the mounts."""
        folder = self.node_dir(node)
        if not (folder / "etc").exists():
            _furnish(folder)
        script = _MOUNTS.format(folder=shlex.quote(str(folder)), faketime=FAKETIME)
        return ("unshare", "-m", "sh", "-c", script, "sh", *super().command(node))


def _furnish(folder: Path) -> None:
    etc = folder / "etc"
    shutil.copytree("/etc", etc, symlinks=True)
    (folder / "plugins").mkdir()
    (etc / "faketimerc").write_text("+0\n")
    (etc / "nsswitch.conf").write_text("passwd: files extrausers\ngroup: files\nshadow: files\nhosts: files\n")
    with (etc / "passwd").open("a") as passwd, (etc / "group").open("a") as group:
        passwd.writelines(f"{name}:x:{4300 + number}:100::/:/bin/sh\n" for number, name in enumerate(PEOPLE))
        group.write(f"{GROUP}:x:4200:eve\n")


def inside(lab: Lab, node: str, *argv: str) -> None:
    """Run a command where the node's software runs, with its clock, its users and its files."""
    pid = lab.init_facts(node)["pid"]
    done = subprocess.run(
        ["nsenter", "-t", str(pid), "-m", "-n", *argv],
        env=os.environ | {"APPLIANCE_SOCKET": str(lab.socket(node))},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, (argv, done.stderr)


def run_inside(*commands: str, node: str = "fw2") -> Fault:
    """Shell commands there."""
    return lambda lab: inside(lab, node, "sh", "-ec", "; ".join(commands))


def set_clock(offset_s: int, node: str = "fw2") -> Fault:
    """Put the clock of a node forward by so much."""
    return lambda lab: (lab.node_dir(node) / "etc" / "faketimerc").write_text(f"{offset_s:+d}\n")
