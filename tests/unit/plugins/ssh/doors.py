"""A node whose ``lo`` is the loopback of this machine, with a stand-in for sshd, and people who knock."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import trio

from appliance.testing import LogicalInterfaces, RunningNode
from appliance_ssh import daemon, service
from appliance_ssh.accounts import Installed, Places
from appliance_ssh.daemon import fingerprint
from appliance_ssh.plugin import Ssh
from appliance_ssh.settings import Account
from appliance_users.config import UsersConfig
from tests.unit.plugins.notify.servers import free_port

Run = Callable[..., AbstractAsyncContextManager[RunningNode]]
LOOPBACK = LogicalInterfaces.of(lo="127.0.0.1/8")
OLGA = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIdtd3FCT8A1Jg1IVGZjMYs7XK0zOPDGtTBzYBDJQkX5"
BOB = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6A8uVdkfsX0dGBCUQTEsJSFlTWiVSjJJ7hM5sjAsZe"
SSHD = """#!/bin/sh
read -r user key
case $user in
mallory) echo "Invalid user mallory from 127.0.0.1 port 4711" >&2; exit 255 ;;
esac
echo "Accepted publickey for $user from 127.0.0.1 port 4711 ssh2: ED25519 $key" >&2
echo welcome
read -r line
"""
"""Knows everybody; says what sshd says, and goes when it is spoken to."""


def tables(**users: str) -> dict[str, object]:
    """Interfaces, and operators with one key each."""
    people = {name: {"role": "operator", "ssh_keys": [key]} for name, key in users.items()}
    return {"interfaces": LOOPBACK, "users": UsersConfig.model_validate(people)}


def believe(accounts: Sequence[Account], places: Places) -> Installed:
    """Instead of `accounts.install`, which needs root and a machine of its own."""
    del places
    return Installed(usable=tuple(accounts))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for everything that would be in ``/run`` and ``/var``."""
    program = tmp_path / "sshd"
    program.write_text(SSHD)
    program.chmod(0o755)
    found = {"sshd": str(program)}
    real = daemon.find
    monkeypatch.setattr(daemon, "find", lambda name: found.get(name) or real(name))
    monkeypatch.setattr(daemon, "find_shell", lambda: "/bin/true")
    monkeypatch.setattr(daemon, "PRIVSEP", tmp_path / "privsep")
    monkeypatch.setattr(service, "install", believe)
    monkeypatch.setattr(service, "Places", functools.partial(Places, extra=tmp_path, runtime=tmp_path / "run"))
    return tmp_path


@contextlib.asynccontextmanager
async def serving(run_service: Run, **users: str) -> AsyncIterator[tuple[RunningNode, int]]:
    """The node and its port."""
    port = free_port()
    config = {"listen": ["lo"], "port": port}
    async with run_service(Ssh, config=config, tables=tables(**users or {"olga": OLGA}), node="fw1") as node:
        yield node, port


async def knock(port: int, user: str, key: str = OLGA) -> trio.SocketStream:
    """Somebody shows a key."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    await stream.send_all(f"{user} {fingerprint(key)}\n".encode())
    return stream


async def hears(stream: trio.SocketStream) -> bytes:
    """What comes next; empty at the end."""
    with trio.fail_after(20):
        try:
            return bytes(await stream.receive_some(100))
        except trio.BrokenResourceError:
            return b""
