"""sshd: its configuration, its host key, and how it is started for one connection."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from appliance.errors import ApplianceError
from appliance_ssh.accounts import GROUP, Places

PROGRAM, KEYGEN = "sshd", "ssh-keygen"
LIMITS = ("--rtprio=0:0", "--nice=0:0", "--memlock=8388608:8388608", "--core=0:0")
"""For sessions (prlimit(1)): the node may have real-time priority and locked memory, people need neither."""
PRIVSEP = Path("/run/sshd")
"""Debian's sshd locks the process that talks to strangers up in here; it has to be empty, and root's."""
HOST_KEY = "ssh_host_ed25519_key"
LOGIN_S = 30
"""For a login: an agent asks its owner."""
TRIES_MAX = 6
"""Keys of one connection: an agent offers what it has."""
SESSIONS_MAX = 4
"""Sessions inside one connection."""
ALIVE_S, ALIVE_MAX = 20, 3
"""A client that is gone is noticed after a minute."""
KEYGEN_MAX_S = 30.0
_PLACES = "/usr/sbin:/usr/local/sbin:/usr/bin"
_KEPT = ("APPLIANCE_SOCKET", "PYTHONDONTWRITEBYTECODE")
"""Of our own environment: how the console of a session finds this node."""


def find(program: str) -> str:
    """Path of a program of OpenSSH, or of Debian's base system.

    Raises:
        ApplianceError: It is not installed.
    """
    found = shutil.which(program) or shutil.which(program, path=_PLACES)
    if found is None:
        raise ApplianceError(f"{program} is not installed", hint="Install the package openssh-server.")
    return found


def find_shell() -> str:
    """Path of the console, which is everybody's login shell.

    Raises:
        ApplianceError: It is not in the path.
    """
    found = shutil.which("appliance")
    if found is None:
        raise ApplianceError("the command `appliance` is not in the path of this node", hint="Put it there.")
    return found


def argv(places: Places) -> list[str]:
    """For one connection: sshd finds it at its standard input, and says what happens on standard error (sshd(8))."""
    return [find("prlimit"), *LIMITS, "--", find(PROGRAM), "-i", "-e", "-f", str(places.runtime / "sshd_config")]


def prepare(places: Places, state: Path, idle_s: int) -> str:
    """Write what sshd reads; the fingerprint of the host key.

    Raises:
        ApplianceError: The host key cannot be made.
        OSError: Files cannot be written.
    """
    places.runtime.mkdir(mode=0o755, parents=True, exist_ok=True)
    PRIVSEP.mkdir(mode=0o755, parents=True, exist_ok=True)
    key = state / HOST_KEY
    public = key.with_suffix(".pub")
    if not key.exists() or not public.exists():
        _make_key(key)
    path = places.runtime / "sshd_config"
    new = path.with_suffix(".new")
    new.write_text(configuration(places, key, idle_s), encoding="utf-8")
    new.replace(path)
    return fingerprint(public.read_text(encoding="utf-8"))


def _make_key(path: Path) -> None:
    new = path.with_suffix(".new")
    for each in (new, new.with_suffix(".new.pub")):
        each.unlink(missing_ok=True)
    command = [find(KEYGEN), "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(new)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=KEYGEN_MAX_S)
    except subprocess.SubprocessError as error:
        said = getattr(error, "stderr", "") or str(error)
        raise ApplianceError(f"cannot make a host key: {said.strip()}", hint="See the log of this node.") from None
    # The public half first: it is made again when the other one is missing.
    Path(f"{new}.pub").replace(path.with_suffix(".pub"))
    new.replace(path)


def fingerprint(public: str) -> str:
    """Of a public key ``TYPE BASE64 …``, as OpenSSH shows it."""
    digest = hashlib.sha256(base64.b64decode(public.split()[1])).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def configuration(places: Places, host_key: Path, idle_s: int) -> str:
    """``sshd_config``: keys only, a console only. Algorithms are those of the distribution."""
    kept = " ".join(f'"{name}={os.environ[name]}"' for name in _KEPT if name in os.environ)
    lines = [
        "# Made by the appliance; changes are lost.",
        f"HostKey {host_key}",
        f"AuthorizedKeysFile {places.keys}/%u",
        f"AllowGroups {GROUP}",
        "AuthenticationMethods publickey",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "HostbasedAuthentication no",
        "PermitRootLogin no",
        "UsePAM no",
        "StrictModes yes",
        "DisableForwarding yes",
        "PermitTunnel no",
        "PermitUserRC no",
        "PermitUserEnvironment no",
        f"LoginGraceTime {LOGIN_S}",
        f"MaxAuthTries {TRIES_MAX}",
        f"MaxSessions {SESSIONS_MAX}",
        f"ClientAliveInterval {ALIVE_S}",
        f"ClientAliveCountMax {ALIVE_MAX}",
        "UseDNS no",
        "PrintMotd no",
        "PrintLastLog no",
        "DebianBanner no",
        "PidFile none",
        "LogLevel VERBOSE",
        *([f"ChannelTimeout session*={idle_s}", f"UnusedConnectionTimeout {idle_s}"] if idle_s else []),
        *([f"SetEnv {kept}"] if kept else []),
    ]
    return "".join(f"{line}\n" for line in lines)
