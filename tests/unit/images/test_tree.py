"""Trees of a slot: what is dropped, what replaces what, and equal bytes for equal files."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

from appliance_images.tree import Tree, squashfs


def base(folder: Path) -> Path:
    """A small base system."""
    path = folder / "base.tar"
    with tarfile.open(path, "w") as archive:
        for name, text in {
            "./etc/passwd": "root:x:0:0\n", "./etc/ssh/ssh_host_rsa_key": "secret",
            "./usr/share/doc/x/copyright": "GPL", "./usr/bin/perl": "perl", "./usr/bin/ip": "ip",
        }.items():  # fmt: skip
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(text), 12345, 0o755
            archive.addfile(info, io.BytesIO(text.encode()))
    return path


def tree(archive: tarfile.TarFile) -> Tree:
    made = Tree(1_700_000_000)
    made.add_archive(archive)
    made.add_file("etc/passwd", b"root and others\n")
    made.add_file("a/b/c", b"new")
    made.add_link("bin", "usr/bin")
    made.add_folder("tmp", 0o1777)
    return made


def test_secrets_documentation_and_package_tools_are_left_out(tmp_path: Path) -> None:
    with tarfile.open(base(tmp_path)) as archive:
        made = tree(archive)
        assert made.paths() == ["a", "a/b", "a/b/c", "bin", "etc", "etc/passwd", "tmp", "usr/bin/ip"]
        assert made.text("etc/passwd") == "root and others\n"
        assert made.data("usr/bin/ip") == b"ip"


def test_a_slot_has_the_same_bytes_every_time_and_can_be_read(tmp_path: Path) -> None:
    paths = []
    for name in ("one", "two"):
        with tarfile.open(base(tmp_path)) as archive:
            paths.append(tmp_path / name)
            squashfs(tree(archive), paths[-1], compression="gzip", block_bytes=65536, mtime=1_700_000_000)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    read = subprocess.run(["rdsquashfs", "-c", "a/b/c", paths[0]], check=True, capture_output=True, timeout=20)
    assert read.stdout == b"new"


def test_files_of_this_machine_may_be_run_only_where_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/tool").write_text("#!/bin/sh\n")
    (tmp_path / "data").write_text("x")
    made = Tree(0)
    made.add_tree(tmp_path, "", executable="^usr/bin/")
    stream = io.BytesIO()
    made.write(stream)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as archive:
        modes = {member.name: member.mode for member in archive if member.isreg()}
    assert modes == {"usr/bin/tool": 0o755, "data": 0o644}
