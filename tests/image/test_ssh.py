"""Somebody logs in to an image over SSH: sshd works inside what systemd leaves the node, and accounts are seen."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from pathlib import Path

import pytest

from appliance_images import session
from appliance_images.hub import Hub, Segment
from appliance_images.qemu import VirtualMachine
from tests.image.cable import plugged
from tests.image.conftest import Built

BOOT_S, LOGIN_S = 500, 240
NODE, CLIENT = "192.168.1.2", "192.168.1.100/24"
OPTIONS = (
    *("-F", "none", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=accept-new", "-o", "BatchMode=yes"),
    *("-o", "ConnectTimeout=60", "-o", "LogLevel=ERROR"),
)
TABLES = """
[ssh]
listen = ["lan"]

[users.olga]
role = "operator"
ssh_keys = ["{key}"]

[users.eve]
role = "viewer"
ssh_keys = ["{key}"]
"""


def ssh(cable: socket.socket, folder: Path, who: str, line: str) -> subprocess.CompletedProcess[str]:
    """One line of somebody on the LAN."""
    files = ("-i", str(folder / "key"), "-o", f"UserKnownHostsFile={folder / 'known'}")
    argv = plugged(cable, CLIENT, "ssh", *OPTIONS, *files, f"{who}@{NODE}", line)
    return subprocess.run(
        argv, pass_fds=[cable.fileno()], capture_output=True, text=True, timeout=LOGIN_S, stdin=subprocess.DEVNULL
    )


@pytest.mark.timeout(1200)
def test_a_user_with_a_key_has_the_console_of_the_image(built: Built, tmp_path: Path) -> None:
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "desk", "-f", str(tmp_path / "key")]
    subprocess.run(make, check=True)
    config = tmp_path / "fw1.toml"
    key = (tmp_path / "key.pub").read_text().strip()
    config.write_text(session.example_config("fw1") + TABLES.format(key=key))
    with contextlib.ExitStack() as stack:
        hub = stack.enter_context(Hub(Segment(tmp_path, name, ("fw1", "desk")) for name in session.SEGMENTS))
        image = built.file(".qcow2")
        (hardware,) = session.machines_of(image, tmp_path, hub, ["fw1"], [config], uefi=False, kvm=False)
        machine = stack.enter_context(VirtualMachine(hardware))
        machine.wait_for(r"node \w+ is up", BOOT_S)
        cable = stack.enter_context(contextlib.closing(hub.segments["lan"].station("desk")))
        end = time.monotonic() + LOGIN_S
        while (done := ssh(cable, tmp_path, "olga", "show users")).returncode != 0:
            assert time.monotonic() < end, (done, machine.ask("show ssh", LOGIN_S))
        assert "olga  operator" in done.stdout
        refused = ssh(cable, tmp_path, "eve", "config reload")
        assert "the user eve may only look" in refused.stderr, refused
