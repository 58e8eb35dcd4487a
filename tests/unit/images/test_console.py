"""The console of an image in a pseudo-terminal: the wizard first, then the menu, which nothing gets rid of."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.console.menu.menu import ENTRIES, PROMPT
from appliance_images import console
from tests.unit.core.console.commands.test_menu import read_until

PROGRAM = """
import sys
from pathlib import Path
from appliance_images.console import console
def start(argv):
    print("<" + " ".join(argv) + ">", flush=True)
    return 0
sys.exit(console(Path(sys.argv[1]), start=start, socket=sys.argv[1] + ".socket", environment={}))
"""


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[int]:
    """A console on a machine whose node does not run."""
    child, handle = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", PROGRAM, str(tmp_path / "appliance.toml")])
    try:
        yield handle
    finally:
        os.close(handle)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def send(terminal: int, text: str) -> None:
    os.write(terminal, text.encode())


def test_a_first_start_shows_the_wizard_then_the_menu(terminal: int) -> None:
    said = read_until(terminal, f"{PROMPT}: ")
    assert re.search(r"no configuration.*<appliance image setup>.*no node is running", said, re.S)
    send(terminal, "show ha\n")
    assert "<appliance show ha>" in read_until(terminal, f"{PROMPT}: ")
    for attempt in ("\x03", "0\n"):
        send(terminal, attempt)
        assert "Shell of the appliance" in read_until(terminal, f"{PROMPT}: ")
    send(terminal, 'pair "\n')
    assert "No closing quotation" in read_until(terminal, f"{PROMPT}: ")


def test_what_is_typed_is_a_command_of_the_appliance_or_one_of_three_of_the_system() -> None:
    assert console.meant(["appliance", "show", "ha"]) == ("/usr/bin/appliance", "show", "ha")
    assert console.meant(["appliance", "reboot"]) == ("systemctl", "reboot")
    assert console.meant(["ping", "-c", "3", "192.0.2.1"]) == ["ping", "-c", "3", "192.0.2.1"]
    assert console.meant(["appliance", "log"])[0] == "journalctl"


def test_entries_of_the_menu_are_those_that_mean_the_machine() -> None:
    labels = [label for label, _ in console.entries()]
    assert labels[: len(ENTRIES)] == [label for label, _ in ENTRIES]
    assert {console.WIZARD, console.PASSWORD} <= set(labels)
    assert "Install on a disk of this machine" in labels


def test_it_loads_little_because_it_starts_together_with_the_node() -> None:
    program = "import sys, appliance_images.__main__, appliance_images.console; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert not {"pydantic", "trio", "prompt_toolkit", "structlog"} & set(loaded.stdout.split())
