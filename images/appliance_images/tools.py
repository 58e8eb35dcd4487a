"""Runs the programs that images are made with, and says which one is missing or what it complained of."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from appliance.errors import ApplianceError

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Users who are not root often lack the ``sbin`` folders, where mkfs and depmod are."""
COMMAND_S = 900.0
"""No step takes longer; the compression of a large image on a slow machine takes minutes."""
COMPLAINT_LINES = 12

Say = Callable[[str], None]


def run(
    *argv: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    timeout_s: float = COMMAND_S,
) -> str:
    """Standard output of a command that must succeed.

    Raises:
        ApplianceError: It is not installed, failed or took too long.
    """
    words = [os.fspath(word) for word in argv]
    try:
        done = subprocess.run(
            words, cwd=cwd, env=environment(env), input=stdin, capture_output=True, timeout=timeout_s, check=False
        )
    except FileNotFoundError as error:
        raise missing(words[0]) from error
    except subprocess.TimeoutExpired as error:
        raise failed(words, f"took longer than {timeout_s:g} s") from error
    if done.returncode != 0:
        raise failed(words, complaint(done.stderr + done.stdout))
    return done.stdout.decode(errors="replace")


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a step: plain messages, and no settings that change what a tool writes."""
    return {
        **os.environ,
        "PATH": f"{os.environ.get('PATH', '')}:{PATH}",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        **(more or {}),
    }


def missing(command: str) -> ApplianceError:
    """The error for a program that is not installed."""
    return ApplianceError(
        f"{command} is not installed, and images are made with it",
        hint="On Debian `make setup` installs what is missing; .ci/packages.txt names the packages.",
    )


def failed(argv: Sequence[str], why: str) -> ApplianceError:
    """The error for a program that did not do its work."""
    return ApplianceError(f"{argv[0]} failed: {why}", hint=f"The command was: {shlex.join(argv)[:400]}")


def complaint(output: bytes) -> str:
    """The last lines of what a program printed."""
    lines = output.decode(errors="replace").strip().splitlines()
    return "\n  ".join(lines[-COMPLAINT_LINES:]) or "it printed nothing"


class Progress:
    """Says what is being done, with the time since the start."""

    def __init__(self, write: Say) -> None:
        self._write = write
        self._began = time.monotonic()

    def __call__(self, what: str) -> None:
        self._write(f"[{self.elapsed_s:6.1f} s] {what}")

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began
