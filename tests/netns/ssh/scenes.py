"""A pair whose nodes have accounts of their own, and people with keys who log in from the client.

A node writes accounts where the whole machine looks for them. Therefore each node of this lab runs in a mount namespace
of its own, with its own list of users, and this machine's is not touched.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import pexpect

from appliance.lab import Lab, NodeSettings
from appliance.lab.topology import LAN, WAN
from tests.meta.source import ROOT

INSIDE = {node: LAN.node4(number).partition("/")[0] for number, node in enumerate(("fw1", "fw2"), 1)}
OUTSIDE = WAN.node4(1).partition("/")[0]
VIP = LAN.vips[0][2][0].partition("/")[0]
GROUP = "appliance:x:4200:\n"
PEOPLE = ("olga", "eve", "bob")
WAIT_S = 60.0
OPTIONS = (
    *("-F", "none", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=accept-new", "-o", "BatchMode=yes"),
    *("-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR"),
)
PRIVATE = """\
set -e
mount --make-rprivate /
for name in passwd group nsswitch.conf; do mount --bind "$LAB_ETC/$name" "/etc/$name"; done
mkdir -p /run/appliance
mount -t tmpfs -o mode=755 tmpfs /run/appliance
mount -t tmpfs -o mode=755 tmpfs /var/lib/extrausers
"""
OPENED = """\
mkdir -p "$LAB_ETC/{number}"
mount --bind "{needed}" "$LAB_ETC/{number}"
mount -t tmpfs -o mode=755 tmpfs "{closed}"
mkdir -p "{needed}"
mount --bind "$LAB_ETC/{number}" "{needed}"
"""
"""The interpreter may be in a home that only root may enter; those who log in need it."""


class SshLab(Lab):
    """A lab whose nodes see accounts that only they see."""

    def command(self, node: str) -> tuple[str, ...]:
        """Its software, behind the mounts."""
        return ("unshare", "-m", "sh", "-c", f'{self._mounts(node)}exec "$@"', "sh", *super().command(node))

    def _mounts(self, node: str) -> str:
        folder = self.node_dir(node) / "etc"
        folder.mkdir(exist_ok=True)
        for name in ("passwd", "group"):
            (folder / name).write_text(Path("/etc", name).read_text() + (GROUP if name == "group" else ""))
        (folder / "nsswitch.conf").write_text("passwd: files extrausers\ngroup: files\nshadow: files\nhosts: files\n")
        opened = [
            OPENED.format(number=number, needed=needed, closed=closed)
            for number, (closed, needed) in enumerate(_closed())
        ]
        return f"export LAB_ETC={folder}\n{PRIVATE}{''.join(opened)}"


def _closed() -> Iterator[tuple[Path, Path]]:
    """Folders on the way to the interpreter and to this project that others may not enter; what is needed of them."""
    for needed in {Path(sys.base_prefix).resolve(), ROOT.resolve()}:
        closed = next((each for each in reversed(needed.parents) if not each.stat().st_mode & 0o001), None)
        if closed is not None:
            yield closed, needed


def make_key(folder: Path, name: str, kind: str = "ed25519") -> str:
    """A pair of keys of somebody; the public half."""
    path = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", name, "-f", str(path)], check=True)
    return path.with_suffix(".pub").read_text().strip()


def tables(keys: dict[str, Sequence[str]]) -> str:
    """``[ssh]`` and ``[users]``: olga and bob may do everything, eve may look."""
    users = "".join(
        f'[users.{name}]\nrole = "{"viewer" if name == "eve" else "operator"}"\nssh_keys = {list(each)!r}\n'
        for name, each in keys.items()
    )
    return f'[ssh]\nlisten = ["lan"]\n\n{users}'


def settings(keys: dict[str, Sequence[str]]) -> NodeSettings:
    """Of both nodes."""
    return NodeSettings(profile="fast", firewall=True, extra=tables(keys))


def argv(folder: Path, who: str, key: str, *words: str, address: str = INSIDE["fw1"]) -> list[str]:
    """How somebody logs in."""
    known = ("-o", f"UserKnownHostsFile={folder / 'known_hosts'}")
    return ["ssh", *OPTIONS, *known, "-i", str(folder / key), "-l", who, address, *words]


def ssh(
    lab: Lab, folder: Path, who: str, *words: str, key: str = "", address: str = INSIDE["fw1"], host: str = "client"
) -> subprocess.CompletedProcess[str]:
    """One command of somebody over SSH."""
    return lab.exec(host, *argv(folder, who, key or who, *words, address=address), check=False)


class Terminal:
    """Somebody at the console over SSH."""

    def __init__(self, lab: Lab, folder: Path, who: str, address: str = INSIDE["fw1"]) -> None:
        program, *rest = lab.argv("client", argv(folder, who, who, address=address))
        environ = {**os.environ, "TERM": "dumb"}
        self.child = pexpect.spawn(
            program, rest, env=environ, encoding="utf-8", timeout=WAIT_S, dimensions=(24, 100), use_poll=True
        )
        self.child.delaybeforesend = None

    def sees(self, pattern: str) -> None:
        """Wait for a text."""
        self.child.expect(pattern)

    def types(self, line: str) -> None:
        """A line and Enter."""
        self.child.send(line + "\r")

    def is_gone(self) -> bool:
        """Wait until the session has ended."""
        self.child.expect(pexpect.EOF)
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.close(force=True)
