"""Everything that runs in a network namespace: batches of commands, sysctls, processes, their end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from appliance.errors import KernelError
from appliance.net.namespace import in_namespace

T = TypeVar("T")

NETNS_DIR = Path("/run/netns")
COMMAND_DEADLINE_S = 20.0
"""Every command of the lab takes milliseconds; longer means that the kernel hangs."""
KILL_ROUNDS = 250
"""Processes that fork while they are being killed are caught by the next round."""
KILL_ROUND_S = 0.02
TOOLS = {"ip": "iproute2", "bridge": "iproute2", "nft": "nftables"}


def require_tools() -> None:
    """Refuses early and clearly: not root, no `ip`, no `nft`."""
    if os.geteuid() != 0:
        raise KernelError(
            "the lab needs root: it creates network namespaces", hint="Run it as root, for example with sudo."
        )
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            raise KernelError(f"the lab needs the command {tool!r}", hint=f"Install it: apt-get install {package}")


def run(argv: Sequence[str], *, text: str | None = None, check: bool = True) -> str:
    """Runs a command of the lab and returns what it printed; a failure is an error with its text."""
    try:
        done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=COMMAND_DEADLINE_S, check=False)
    except subprocess.TimeoutExpired as hang:
        raise KernelError(
            f"{' '.join(argv)} did not finish in {COMMAND_DEADLINE_S:.0f} s", hint="See dmesg for a stuck kernel."
        ) from hang
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip().replace("\n", "; ")
        fed = f" (fed with: {text.strip()})" if text else ""
        raise KernelError(f"{' '.join(argv)} failed: {said}", hint=f"The lab cannot go on{fed}.")
    return done.stdout


def batch(tool: str, namespace: str | None, lines: Iterable[str], *, force: bool = False) -> str:
    """Runs many lines of `ip` or `bridge` in one process. With `force`, failing lines do not stop the others."""
    where = ["-n", namespace] if namespace else []
    argv = [tool, *(["-force"] if force else []), *where, "-batch", "-"]
    return run(argv, text="\n".join(lines) + "\n", check=not force)


def nft(namespace: str, text: str, *, check: bool = True) -> str:
    """Applies a ruleset in a namespace as one transaction."""
    return run(["ip", "netns", "exec", namespace, "nft", "-f", "-"], text=text, check=check)


def exists(namespace: str) -> bool:
    """Whether a named namespace exists."""
    return (NETNS_DIR / namespace).exists()


def named(prefix: str) -> tuple[str, ...]:
    """All named namespaces that start with this."""
    if not NETNS_DIR.is_dir():
        return ()
    return tuple(sorted(path.name for path in NETNS_DIR.iterdir() if path.name.startswith(prefix)))


def delete(namespaces: Iterable[str]) -> None:
    """Deletes namespaces; those that are gone are no error."""
    lines = [f"netns del {namespace}" for namespace in namespaces if exists(namespace)]
    if lines:
        batch("ip", None, lines, force=True)


def inside(namespace: str, work: Callable[[], T]) -> T:
    """Runs a function in a thread of its own that has entered the namespace."""
    if not exists(namespace):
        raise KernelError(f"there is no network namespace {namespace!r}", hint="Is the lab up? `appliance lab status`.")
    return in_namespace(NETNS_DIR / namespace, work)


def write_sysctls(namespace: str, settings: Mapping[str, str]) -> None:
    """Writes kernel settings; ``/proc/sys/net`` belongs to the namespace of the calling thread."""

    def write() -> None:
        for key, value in settings.items():
            try:
                Path("/proc/sys", key).write_text(value)
            except OSError as error:
                raise KernelError(
                    f"cannot set {key} to {value} in {namespace}: {error.strerror}",
                    hint="Is this kernel built with IPv6? `appliance lab up --no-ipv6` does without.",
                ) from error

    inside(namespace, write)


def read_sysctl(namespace: str, key: str) -> str:
    """A kernel setting of a namespace, key with slashes."""
    return inside(namespace, lambda: Path("/proc/sys", key).read_text().strip())


def pids(namespace: str) -> tuple[int, ...]:
    """All processes whose main thread is in the namespace, ascending."""
    try:
        wanted = (NETNS_DIR / namespace).stat()
    except OSError:
        return ()
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            seen = os.stat(f"/proc/{entry.name}/ns/net")
        except OSError:  # it ended, or it is a zombie
            continue
        if (seen.st_dev, seen.st_ino) == (wanted.st_dev, wanted.st_ino):
            found.append(int(entry.name))
    return tuple(sorted(found))


def command_line(pid: int) -> str:
    """What a process runs; empty when it is gone."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return raw.replace(b"\0", b" ").decode(errors="replace").strip()


def send_signal(targets: Iterable[int], number: signal.Signals) -> None:
    """Signals processes; those that are gone are no error."""
    for pid in targets:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def kill_all(namespace: str, *, first: Iterable[int] = ()) -> int:
    """SIGKILL to every process in the namespace, the given ones first. Returns how many there were."""
    send_signal(first, signal.SIGKILL)
    killed = set(first)
    for _ in range(KILL_ROUNDS):
        alive = pids(namespace)
        if not alive:
            break
        send_signal(alive, signal.SIGKILL)
        killed.update(alive)
        for pid in alive:
            reap(pid)
        if pids(namespace):
            time.sleep(KILL_ROUND_S)
    # A process leaves its namespace early in its end; with much locked memory the rest takes a while.
    for _ in range(KILL_ROUNDS):
        if not any(is_alive(pid) for pid in killed):
            break
        time.sleep(KILL_ROUND_S)
    return len(killed)


def reap(pid: int) -> None:
    """Collects a child of ours; somebody else's child is none of our business."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def process_name(pid: int) -> str:
    """The name a process gave itself; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def title(pid: int) -> str:
    """What to recognise a process by: the name it gave itself, else what it was started as.

    A forked child keeps the command line of its parent, so its own name must win.
    """
    name = process_name(pid)
    if name and not name.startswith("python"):
        return name
    words = command_line(pid).split()
    if "appliance.lab.init" in words:
        return "init"
    plain = [word for word in words[1:] if not word.startswith(("/", "-"))]
    return plain[-1] if plain else name


def process_state(pid: int) -> str:
    """One letter: R running, S sleeping, T stopped … ; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    """Whether a process exists and has not ended."""
    return process_state(pid) not in ("", "Z")
