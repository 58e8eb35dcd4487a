"""What cases are made of: commands on a node, programs that interfere, faults of the network, edits of a file."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Iterable

from appliance.lab import Lab, faults

_held: dict[str, subprocess.Popen[str]] = {}
"""Programs that run, by their names."""
Fault = Callable[[Lab], object]
Remedy = Callable[[Lab, str], object]


def run(*commands: str, node: str = "fw2") -> Fault:
    """Shell commands on a node."""
    return lambda lab: lab.exec(node, "sh", "-ec", "; ".join(commands))


def hold(name: str, role: str, *argv: str, says: str = "") -> Fault:
    """Start a program that runs until it is stopped by its name; if it says something first, wait for that."""

    def start(lab: Lab) -> None:
        program = _held[name] = lab.popen(role, *argv)
        if says:
            assert program.stdout is not None
            assert program.stdout.readline() == f"{says}\n"

    return start


def interfere(command: str, node: str = "fw2") -> Fault:
    """Another program that does this all the time; it is stopped by its command."""
    return hold(command, node, "sh", "-c", f"while :; do {command}; done 2>/dev/null")


def cause(make: Callable[[Lab], faults.Fault]) -> Fault:
    """A fault of the network."""
    return lambda lab: lab.cause(make(lab))


def change(*pairs: tuple[str, str], node: str = "fw1", times: int = 1) -> Fault:
    """Replace texts in a file and put it in force, as an operator does who confirms what is risky.

    Args:
        pairs: What is there, and what is to be there instead.
        node: Whose file it is.
        times: How often each text is there.
    """

    def edit(lab: Lab) -> None:
        path = lab.config_path(node)
        text = path.read_text()
        for before, after in pairs:
            assert text.count(before) == times, (before, text)
            text = text.replace(before, after)
        path.write_text(text)
        lab.request(node, "config", "reload", "--confirm", "60")
        lab.request(node, "config", "confirm")

    return edit


def chain(*steps: Fault) -> Fault:
    """One after the other."""

    def do(lab: Lab) -> None:
        for step in steps:
            step(lab)

    return do


def as_printed(pattern: str, node: str = "fw2") -> Remedy:
    """Run each command that the remedy prints and that looks like this."""

    def follow(lab: Lab, fix: str) -> None:
        commands = [command.strip("'`") for command in re.findall(pattern, fix)]
        assert commands, fix
        for command in commands:
            lab.exec(node, *shlex.split(command))

    return follow


def advised(words: str, *steps: Fault) -> Remedy:
    """What an operator does whom these words tell what is wrong."""

    def follow(lab: Lab, fix: str) -> None:
        assert words in fix, fix
        for step in steps:
            step(lab)

    return follow


def stop(name: str) -> Fault:
    """End a program that was started by this name."""

    def end(_: Lab) -> None:
        with _held.pop(name) as program:
            program.kill()

    return end


def stop_all(names: Iterable[str]) -> None:
    """End what a failed test has left."""
    for name in {*names} & _held.keys():
        with _held.pop(name) as program:
            program.kill()


def mend(lab: Lab) -> None:
    """Put the network right."""
    lab.undo_all()
