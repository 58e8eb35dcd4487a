"""Archives for the kernel: checked with the reader of busybox."""

from __future__ import annotations

import subprocess
from pathlib import Path

from appliance_images import cpio


def test_another_program_unpacks_it(tmp_path: Path) -> None:
    entries = [cpio.folder("bin"), cpio.file("bin/tool", b"#!/bin/sh\n", 0o755), cpio.link("bin/other", "tool")]
    argv = ["busybox", "cpio", "-i", "-d"]
    subprocess.run(argv, input=cpio.archive(entries), cwd=tmp_path, check=True, capture_output=True, timeout=20)
    assert (tmp_path / "bin/tool").read_bytes() == b"#!/bin/sh\n"
    assert (tmp_path / "bin/tool").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "bin/other").readlink() == Path("tool")


def test_equal_files_make_equal_archives() -> None:
    assert cpio.archive([cpio.file("a", b"1")]) == cpio.archive([cpio.file("a", b"1")])
    assert len(cpio.archive([cpio.file("a", b"1")])) % 4 == 0
