"""Somebody logs in to an image over SSH: sshd works inside what systemd leaves the node, and accounts are seen."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

import pytest

from appliance_images.hub import Hub, Segment
from appliance_images.qemu import VirtualMachine
from appliance_images.session import SEGMENTS
from tests.image.cable import plugged
from tests.image.conftest import Cluster

LOGIN_S = 240
NODE, CLIENT = "192.168.1.2", "192.168.1.100/24"
OPTIONS = (
    *("-F", "none", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=accept-new", "-o", "BatchMode=yes"),
    *("-o", "ConnectTimeout=60", "-o", "LogLevel=ERROR"),
)


def ssh(cable: socket.socket, key: Path, folder: Path, who: str, line: str) -> subprocess.CompletedProcess[str]:
    """One line of somebody on the LAN."""
    files = ("-i", str(key), "-o", f"UserKnownHostsFile={folder / 'known'}")
    argv = plugged(cable, CLIENT, "ssh", *OPTIONS, *files, f"{who}@{NODE}", line)
    return subprocess.run(
        argv, pass_fds=[cable.fileno()], capture_output=True, text=True, timeout=LOGIN_S, stdin=subprocess.DEVNULL
    )


@pytest.mark.timeout(1200)
def test_a_user_with_a_key_has_the_console_of_the_image(cluster: Cluster, tmp_path: Path) -> None:
    with (
        Hub(Segment(tmp_path, name, ("fw1", "desk")) for name in SEGMENTS) as hub,
        VirtualMachine(cluster.first.again(tmp_path, hub)) as machine,
        hub.segments["lan"].station("desk") as cable,
    ):
        end = time.monotonic() + LOGIN_S
        while (done := ssh(cable, cluster.ssh_key, tmp_path, "olga", "show users")).returncode != 0:
            assert time.monotonic() < end, (done, machine.ask("show ssh", LOGIN_S))
        assert "olga  operator" in done.stdout
        refused = ssh(cable, cluster.ssh_key, tmp_path, "eve", "config reload")
        assert "the user eve may only look" in refused.stderr, refused
