"""Debian packages of an image: resolved by apt in a root of its own, downloaded once, pinned by hash.

apt does its work on lists and a package database that belong to us, so what is installed on this machine does not
change the result, and nothing is installed here. Only the mirrors are the machine's: what comes from them is signed by
Debian, and pinned.
"""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from appliance.errors import ApplianceError
from appliance_images.lock import Pin, sha256_of
from appliance_images.tools import run

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
COMPONENTS = "main non-free-firmware"


def sources(told: str, suite: str) -> str:
    """The mirrors of a suite, its updates and its security updates, as apt reads them.

    Args:
        told: What the machine's apt uses: a line for each, with URI, release, and the origin if it is known.
        suite: Debian's name of it.

    Raises:
        ApplianceError: The machine has no mirror of it.
    """
    wanted = (suite, f"{suite}-updates", f"{suite}-security")
    rows = [line.split() for line in told.splitlines()]
    known = [row for row in rows if len(row) >= 2 and row[1] in wanted and row[2:] in ([], ["Debian"])]
    if not any(row[1] == suite for row in known):
        raise ApplianceError(
            f"apt on this machine has no mirror of Debian {suite}",
            hint="Add one to /etc/apt/sources.list, then: apt-get update",
        )
    lines = {f"deb [signed-by={KEYRING}] {uri} {release} {COMPONENTS}\n" for uri, release, *_ in known}
    return "".join(sorted(lines))


class Apt:
    """apt with lists, cache and package database in one folder."""

    def __init__(self, folder: Path, suite: str) -> None:
        self.archives = folder / "archives"
        self._suite = suite
        self._folder = folder
        for part in ("etc/apt.conf.d", "etc/preferences.d", "lists/partial", "archives/partial", "none/partial"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        told = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(ORIGIN)", "Created-By: Packages")
        (folder / "etc/sources.list").write_text(sources(told, suite))
        settings = {
            "Dir::Etc::sourcelist": folder / "etc/sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State": folder,
            "Dir::State::lists": folder / "lists",
            "Dir::State::status": folder / "status",
            "Dir::Cache": folder,
            "Dir::Cache::archives": self.archives,
            "APT::Sandbox::User": "root",
            "APT::Install-Recommends": "false",
            "APT::Architecture": "amd64",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "Debug::NoLocking": "true",
        }
        self._options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]

    def update(self) -> int:
        """Fetch the lists; the date of the newest one, in seconds since 1970."""
        run("apt-get", "-qq", *self._options, "update")
        heads = [head for path in (self._folder / "lists").glob("*InRelease") if (head := _date(path.read_text()))]
        if not heads:
            raise ApplianceError(
                f"no package list of {self._suite} could be fetched",
                hint="Check the connection of this machine to its mirror of Debian: apt-get update.",
            )
        return max(heads)

    def closure(self, packages: Iterable[str]) -> list[Pin]:
        """Download the essential packages, these, and all they depend on."""
        wanted = ("-y", "-qq", *self._options)
        names = ("install", "?essential", *sorted(packages))
        # A package that is in the cache would not be listed: look into another one.
        listing = run("apt-get", "--print-uris", *wanted, "-o", f"Dir::Cache::archives={self._folder / 'none'}", *names)
        run("apt-get", "--download-only", *wanted, *names)
        return sorted(self._pin(file) for file in _files(listing))

    def kernel(self, package: str) -> list[Pin]:
        """Download the kernel that this package of packages names, without what it depends on."""
        depends = run("apt-cache", *self._options, "depends", package)
        found = re.search(r"Depends: (linux-image-\S+)", depends)
        if found is None:
            raise ApplianceError(f"{package} names no kernel", hint="Choose the flavor vm or usb.")
        return [self.alone(found[1])]

    def alone(self, package: str) -> Pin:
        """Download one package without what it depends on."""
        listing = run("apt-get", "-qq", *self._options, "download", "--print-uris", package)
        (file,) = _files(listing)
        self._download(package, file)
        return self._pin(file)

    def fetch(self, pins: Sequence[Pin]) -> None:
        """Download pinned packages that are not in the cache, and verify all of them.

        Raises:
            ApplianceError: One is no longer offered, or is not what was pinned.
        """
        for pin in pins:
            self._download(f"{pin.name}={pin.version}", pin.file)
            if sha256_of(self.archives / pin.file) != pin.sha256:
                raise ApplianceError(
                    f"{pin.file} is not the file that the lock file names: another hash",
                    hint=f"Remove {self.archives / pin.file}, and if that does not help, the lock file.",
                )

    def _download(self, package: str, file: str) -> None:
        if (self.archives / file).exists():
            return
        try:
            run("apt-get", "-qq", *self._options, "download", package, cwd=self.archives)
        except ApplianceError as error:
            raise ApplianceError(
                f"{package} of the lock file cannot be downloaded: {error.message}",
                hint=f"Put {file} from snapshot.debian.org into {self.archives}, or remove the lock file.",
            ) from error

    def _pin(self, file: str) -> Pin:
        name, version, _ = file.split("_")
        version = version.replace("%3a", ":")
        return Pin(name=name, version=version, file=file, sha256=sha256_of(self.archives / file))


def repository(folder: Path, archives: Path, pins: Iterable[Pin]) -> None:
    """Make a package repository of exactly these files, for mmdebstrap."""
    folder.mkdir(parents=True, exist_ok=True)
    paragraphs = []
    for pin in pins:
        control = run("dpkg-deb", "-f", archives / pin.file).rstrip()
        size = (archives / pin.file).stat().st_size
        (folder / pin.file.replace("%3a", "_")).hardlink_to(archives / pin.file)
        name = pin.file.replace("%3a", "_")
        paragraphs.append(f"{control}\nFilename: ./{name}\nSize: {size}\nSHA256: {pin.sha256}\n")
    (folder / "Packages").write_text("\n".join(paragraphs))


def _files(listing: str) -> list[str]:
    """File names in what ``--print-uris`` prints: ``'URL' FILE SIZE HASH``."""
    return [
        line.split()[1] for line in listing.splitlines() if line.startswith("'") and line.split()[1].endswith(".deb")
    ]


def _date(release: str) -> int | None:
    found = re.search(r"^Date: (.+?) UTC$", release, re.M)
    return calendar.timegm(time.strptime(found[1], "%a, %d %b %Y %H:%M:%S")) if found else None
