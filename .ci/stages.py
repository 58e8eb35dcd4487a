#!/usr/bin/env python3
"""Runs the stages of `make test`, timed: all of them, or those named as arguments.

Only the standard library; the tools come from the virtual environment this runs in. A stage that fails
says how to repeat just it, and the others still run, so that one run tells everything.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PYTHON = sys.executable
EXAMPLE = ROOT / "examples" / "appliance-plugin-hello"

STAGE_MAX_S = 1500
"""No stage may take longer; then its whole process group is killed."""


class StageError(Exception):
    """A command of a stage failed, or took too long."""


def run(*argv: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None) -> None:
    """Run one command of a stage; its output is the stage's output."""
    words = [os.fspath(word) for word in argv]
    process = subprocess.Popen(words, cwd=cwd, env=os.environ | (env or {}), start_new_session=True)
    try:
        status = process.wait(STAGE_MAX_S)
    except subprocess.TimeoutExpired:
        raise StageError(f"took longer than {STAGE_MAX_S} s: {' '.join(words)}") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if status != 0:
        raise StageError(f"exit status {status}: {' '.join(words)}")


def pytest(*arguments: str) -> None:
    run(PYTHON, "-m", "pytest", "-q", "-W", "error", *arguments)


def lint() -> None:
    """Ruff's rules and its formatting, on everything."""
    run(BIN / "ruff", "check", ".")
    run(BIN / "ruff", "format", "--check", ".")


def types() -> None:
    """Mypy, strict, on the product and on the example plugin."""
    run(BIN / "mypy")
    run(BIN / "mypy", EXAMPLE / "appliance_hello", ".ci/stages.py", ".ci/guest.py")


def meta() -> None:
    """Import contracts, public API, documentation, packaging, tidiness."""
    pytest("tests/meta")


def unit() -> None:
    """Unit tests; two at a time, they share nothing."""
    pytest("tests/unit", "-n", "2", "--dist", "loadfile")


def sim() -> None:
    """Several nodes in virtual time."""
    pytest("tests/sim")


def _dependencies_folder() -> Path:
    import pluggy

    return Path(pluggy.__file__).parent.parent


def wheel() -> None:
    """Build the wheels, install them where nothing else is, and run the example's tests against them."""
    with tempfile.TemporaryDirectory(prefix="appliance-wheel-") as folder:
        place = Path(folder)
        wheels, python = place / "wheels", place / "venv" / "bin" / "python"
        for source in (ROOT, EXAMPLE):
            run(PYTHON, "-m", "pip", "-q", "wheel", "--no-deps", "--no-build-isolation", "-w", wheels, source)
        run(PYTHON, "-m", "venv", "--without-pip", place / "venv")
        run(PYTHON, "-m", "pip", "-q", "--python", python, "install", "--no-deps", "--no-index", *wheels.glob("*.whl"))
        # Third-party packages are borrowed from our own environment, behind what has just been installed, so
        # this needs no network. Files named in a .pth are not processed themselves: our editable install stays out.
        site = next((place / "venv" / "lib").glob("python3*")) / "site-packages"
        (site / "borrowed.pth").write_text(f"{_dependencies_folder()}\n")
        check = ROOT / ".ci" / "check_wheel.py"
        run(python, "-W", "error", check, place / "venv", cwd=place)
        shutil.copytree(EXAMPLE / "tests", place / "hello-tests")
        run(python, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", place / "hello-tests", cwd=place)


def netns() -> None:
    """Real kernel, in namespaces of its own; three files at a time, for they wait more than they compute."""
    pytest("tests/netns", "--timeout", "180", "-n", "3", "--dist", "loadfile")


def guest() -> None:
    """Debian's own kernel, in a virtual machine: for what the kernel of this machine may lack."""
    run(PYTHON, ROOT / ".ci" / "guest.py", "tests/guest")


def image() -> None:
    """A bootable image: built twice, started under BIOS and UEFI, as a cluster, from a stick, with a broken slot."""
    # One after the other: beside the build for the stick, clients of two emulated machines found no route, 2 runs of 3.
    pytest("tests/image", "--timeout", "600")


STAGES: dict[str, Callable[[], None]] = {
    "lint": lint,
    "types": types,
    "meta": meta,
    "unit": unit,
    "sim": sim,
    "wheel": wheel,
    "netns": netns,
    "guest": guest,
    "image": image,
}


def perform(name: str) -> bool:
    """Run one stage and say how it went."""
    stage = STAGES[name]
    print(f"== {name}: {(stage.__doc__ or '').splitlines()[0]}", flush=True)
    began = time.monotonic()
    try:
        stage()
    except StageError as error:
        print(f"== {name}: FAILED after {time.monotonic() - began:.1f} s: {error}")
        print(f"   again, only this: .venv/bin/python .ci/stages.py {name}", flush=True)
        return False
    print(f"== {name}: ok, {time.monotonic() - began:.1f} s", flush=True)
    return True


def main(names: Iterable[str]) -> int:
    wanted = list(names) or list(STAGES)
    unknown = [name for name in wanted if name not in STAGES]
    if unknown:
        print(f"no such stage: {' '.join(unknown)}\nThe stages are: {' '.join(STAGES)}", file=sys.stderr)
        return 2
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of processes are started; compile once
    began = time.monotonic()
    failed = [name for name in wanted if not perform(name)]
    verdict = f"FAILED: {' '.join(failed)}" if failed else "all passed"
    print(f"== {len(wanted)} stages in {time.monotonic() - began:.0f} s, {verdict}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
