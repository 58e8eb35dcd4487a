"""The end of the log, read back from where it is written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.console.commands import log

SCRIPT = """
import json, sys, trio
from appliance.console.commands import log
from appliance.errors import ApplianceError

async def main():
    try:
        return await log.show_log(None, count=2, level="warning", words=("KEA",))
    except ApplianceError as error:
        return [error.message]

print(json.dumps(trio.run(main)))
"""
ENTRY = {
    "event": "dhcp_state",
    "level": "warning",
    "node": "fw1",
    "service": "dhcp-failover/server",
    "timestamp": "2026-11-29T08:58:14.769867Z",
    "why": "Kea is\nstarted",
    "pid": 7,
}


def run(stderr: object, **environ: str) -> list[object]:
    """What a process whose log goes there finds in it."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        stdout=subprocess.PIPE,
        stderr=stderr,  # type: ignore[call-overload]
        env=os.environ | environ,
        timeout=60,
        check=True,
    )
    found: list[object] = json.loads(done.stdout)
    return found


def test_a_file_is_searched_from_its_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    lines = [json.dumps(ENTRY | {"pid": number}) for number in range(4)]
    info = json.dumps(ENTRY | {"level": "info"})
    path.write_text("\n".join([*lines, info, "kea-dhcp4: panic", "nothing about it"]) + "\n")
    with path.open("a") as file:
        assert run(file) == [ENTRY | {"pid": 3}, {"text": "kea-dhcp4: panic"}]


def test_from_a_pipe_nothing_can_be_read_back() -> None:
    assert run(subprocess.DEVNULL) == [
        "this node writes its log to a terminal or a pipe, where nothing can be read back"
    ]


def test_the_journal_is_asked_for_this_run_of_the_service(tmp_path: Path) -> None:
    program = tmp_path / "journalctl"
    program.write_text('#!/bin/sh\nprintf \'{"event": "kea", "level": "error", "said": "%s"}\\n\' "$*"\n')
    program.chmod(0o755)
    reader, writer = os.pipe()
    found = os.fstat(writer)
    environ = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}",
        "INVOCATION_ID": "abc",
    }
    try:
        (row,) = run(writer, **environ)
    finally:
        os.close(reader)
        os.close(writer)
    assert isinstance(row, dict)
    assert row["said"].endswith("--output=cat --lines=20000 _SYSTEMD_INVOCATION_ID=abc")


def test_only_whole_lines_of_a_long_file_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    path.write_text("first\nsecond\nthird\n")
    assert log.tail(str(path)) == ["first", "second", "third"]
    monkeypatch.setattr(log, "TAIL_BYTES", 10)
    assert log.tail(str(path)) == ["third"]


def test_people_read_a_line_for_each_entry() -> None:
    line, other = log.render_log([ENTRY, {"text": "Traceback:"}]).splitlines()
    assert line.endswith('.769 warning dhcp-failover/server   dhcp_state why="Kea is\\nstarted" pid=7')
    assert other == "  Traceback:"
    assert log.render_log([]) == "no such entry is in the log"
    assert log.render_log([{"event": "x", "timestamp": "soon"}]) == "- -       -                      x"


@pytest.mark.parametrize("line", ["", "3", "{", '{"level": "info"}', '["event"]'])
def test_what_is_no_entry_is_text(line: str) -> None:
    assert log.entry(line) == {"text": line}
