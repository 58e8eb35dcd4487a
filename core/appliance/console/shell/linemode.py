"""The shell without a terminal: lines from a pipe, or the one of ``appliance -c``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator

from appliance.console.shell.complaint import complaint
from appliance.console.shell.shell import Left, Shell
from appliance.errors import ApplianceError


class Plain:
    """Prints lines as they are."""

    width = 0

    def show(self, lines: Iterator[str], *, pages: bool, paint: Callable[[str], str] = str) -> None:
        """Print lines as they come."""
        del pages, paint  # nobody is there to turn them, or to see it
        for line in lines:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    def clear(self) -> None:
        """Nothing: what is printed stays printed."""


def run_line(path: str, text: str, *, as_json: bool = False) -> int:
    """Run one line and return its exit status."""
    return run_lines(path, [text], as_json=as_json, is_numbered=False)


def run_lines(
    path: str, lines: Iterable[str], *, configure: bool = False, as_json: bool = False, is_numbered: bool = True
) -> int:
    """Run lines until one fails, and return its exit status.

    The first failure ends it: what follows was written for what should have come before.

    Args:
        path: The control socket.
        lines: With or without their line ends.
        configure: Begin in configuration mode.
        as_json: Print JSON.
        is_numbered: Name the number of a line that fails.
    """
    shell = Shell(path, Plain())
    number, line = 0, ""
    try:
        if configure:
            shell.configure()
        for number, line in enumerate(lines, start=1):  # noqa: B007
            status = shell.execute(line.rstrip("\r\n"), as_json=as_json)
            if status:
                return status
        return _end(shell)
    except Left:
        return 0
    except ApplianceError as error:
        sys.stdout.flush()
        where = f"line {number}: " if is_numbered and number else "appliance: "
        sys.stderr.write(f"{where}{complaint(error, line.rstrip())}\n")
        return error.exit_code
    finally:
        shell.leave()


def _end(shell: Shell) -> int:
    if shell.link is None or not shell.link.is_changed:
        return 0
    sys.stderr.write("appliance: the input ended with changes that are not committed\n")
    sys.stderr.write("  Nothing has been changed; end with `commit`.\n")
    return 1
