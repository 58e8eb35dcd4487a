"""The files of a system slot: the base system without what is not needed, the kernel, Python, ours; as one stream.

Everything is a member of one archive that goes into a squashfs: nothing is mounted, and no file of another owner is
made on this machine. Members are sorted and carry one time, so equal inputs make equal bytes.
"""

from __future__ import annotations

import io
import os
import re
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import IO

from appliance_images.tools import complaint, environment, failed, missing

DROPPED = re.compile(
    r"^(dev/.+|proc/.+|sys/.+|run/.+|tmp/.+|var/cache/.+|var/lib/apt/.*|var/lib/dpkg/.*|var/log/.+"
    r"|etc/ssh/ssh_host_.*|etc/machine-id|etc/resolv\.conf|etc/hostname|etc/\.pwd\.lock|etc/(passwd|group|shadow|gshadow)-"
    r"|usr/lib/python3(\.11)?/.*|usr/lib/udev/hwdb\.(bin|d)/?.*|usr/share/(bash-completion|bug|lintian|menu|pixmaps"
    r"|perl5|perl|info|man|locale|zsh|common-licenses|doc-base|debconf|gcc|python3|binfmts)(/.*)?|usr/share/doc/.*"
    r"|usr/lib/x86_64-linux-gnu/(perl-base|gconv|perl5)(/.*)?|usr/bin/(perl.*|deb.*|dpkg.*)|usr/sbin/(dpkg.*)"
    r"|usr/lib/(dpkg|debug|valgrind)(/.*)?|usr/lib/systemd/(catalog|system-generators|user-generators|user)/.*|etc/(cron\..*|apt|dpkg)(/.*)?"
    r"|usr/share/zoneinfo/(right|posix)/.*|boot/.+|usr/lib/modules/.*)$"
)
"""Paths that are left out: package management, documentation, and what a first start makes anew; and generators of
units, which would look at every disk at every start."""
KEEP_FOLDERS = re.compile(r"^(dev|proc|sys|run|tmp|var/cache|var/log|boot)$")


class Tree:
    """Files by path; a later one takes the place of an earlier one."""

    def __init__(self, mtime: int) -> None:
        self._mtime = mtime
        self._members: dict[str, tuple[tarfile.TarInfo, Path | bytes | tarfile.TarFile | None]] = {}

    def add_archive(self, archive: tarfile.TarFile) -> None:
        """The members of the base system, which has to stay open until `write`."""
        for member in archive:
            path = member.name.removeprefix("./").rstrip("/")
            if path in ("", ".") or (DROPPED.match(path) and not KEEP_FOLDERS.match(path)):
                continue
            member.name = path
            if member.islnk():
                member.linkname = member.linkname.removeprefix("./")
            self._members[path] = (member, archive)

    def add_file(self, path: str, data: bytes | Path, mode: int = 0o644) -> None:
        """A regular file of root; folders above it appear by themselves."""
        info = tarfile.TarInfo(path)
        info.mode = mode
        info.size = data.stat().st_size if isinstance(data, Path) else len(data)
        self._add(path, info, data)

    def add_link(self, path: str, target: str) -> None:
        """A symbolic link."""
        info = tarfile.TarInfo(path)
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
        self._add(path, info, None)

    def add_folder(self, path: str, mode: int = 0o755) -> None:
        """An empty folder."""
        info = tarfile.TarInfo(path)
        info.type, info.mode = tarfile.DIRTYPE, mode
        self._add(path, info, None)

    def add_tree(self, source: Path, path: str, *, executable: str = "") -> None:
        """Everything below a folder of this machine; files in paths that match `executable` may be run."""
        runs = re.compile(executable) if executable else None
        for folder, folders, files in os.walk(source):
            folders.sort()
            for name in sorted(files):
                file = Path(folder, name)
                inside = f"{path}/{file.relative_to(source)}".lstrip("/")
                if file.is_symlink():
                    self.add_link(inside, os.readlink(file))
                else:
                    may_run = bool(file.stat().st_mode & stat.S_IXUSR) if runs is None else bool(runs.search(inside))
                    self.add_file(inside, file, 0o755 if may_run else 0o644)

    def drop(self, path: str) -> None:
        """Take a file out."""
        del self._members[path]

    def split(self, folder: str) -> Tree:
        """Take what is in a folder out of this tree, as a tree of its own; the folder itself stays in both."""
        other = Tree(self._mtime)
        for path in self.paths():
            if path == folder:
                other._members[path] = self._members[path]
            elif path.startswith(f"{folder}/"):
                other._members[path] = self._members.pop(path)
        return other

    def data(self, path: str) -> bytes:
        """The content of a file that was added."""
        info, source = self._members[path]
        with self._open(info, source) as file:
            return file.read()

    def text(self, path: str) -> str:
        """The same as text."""
        return self.data(path).decode()

    def paths(self) -> list[str]:
        """Every path, sorted."""
        return sorted(self._members)

    def write(self, stream: IO[bytes]) -> None:
        """Write the archive."""
        with tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT) as archive:
            for path in self.paths():
                info, source = self._members[path]
                info.mtime, info.uname, info.gname, info.pax_headers = self._mtime, "", "", {}
                if not info.isreg():
                    archive.addfile(info)
                    continue
                with self._open(info, source) as file:
                    archive.addfile(info, file)

    def _add(self, path: str, info: tarfile.TarInfo, data: Path | bytes | None) -> None:
        parts = path.split("/")
        for depth in range(1, len(parts)):
            above = "/".join(parts[:depth])
            if above not in self._members:
                self.add_folder(above)
        self._members[path] = (info, data)

    @staticmethod
    def _open(info: tarfile.TarInfo, source: Path | bytes | tarfile.TarFile | None) -> IO[bytes]:
        if isinstance(source, tarfile.TarFile):
            file = source.extractfile(info)
            assert file is not None
            return file
        return source.open("rb") if isinstance(source, Path) else io.BytesIO(source or b"")


LEVELS = {"gzip": "level=6", "xz": "level=3", "zstd": "level=3"}
"""xz makes 7 percent less at its usual level 6, and takes almost five times as long for that."""


def squashfs(tree: Tree, target: Path, *, compression: str, block_bytes: int, mtime: int) -> None:
    """Make a file system: the same bytes for the same tree, however many processors there are.

    Raises:
        ApplianceError: It cannot be made.
    """
    extra = ("-X", LEVELS[compression])
    defaults = f"uid=0,gid=0,mode=0755,mtime={mtime}"
    argv = ["tar2sqfs", "-q", "-f", "-x", "-j", str(os.cpu_count() or 1), "-c", compression, *extra]
    argv += ["-b", str(block_bytes), "-d", defaults, os.fspath(target)]
    try:
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    except FileNotFoundError as error:
        raise missing(argv[0]) from error
    assert process.stdin is not None
    assert process.stderr is not None
    try:
        tree.write(process.stdin)
        process.stdin.close()
    except BrokenPipeError:
        pass  # it says itself why it stopped
    with process.stderr:
        said = process.stderr.read()
    if process.wait() != 0:
        raise failed(argv, complaint(said))
