"""What apt prints is understood, and packages that are not what was pinned are refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance_images import debs
from appliance_images.lock import Pin, sha256_of


def package(folder: Path, name: str, version: str) -> Path:
    """A package without content."""
    control = folder / "tree/DEBIAN"
    control.mkdir(parents=True, exist_ok=True)
    text = f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: x <x@example.org>\nDescription: x\n"
    (control / "control").write_text(text)
    file = folder / f"{name}_{version.replace(':', '%3a')}_amd64.deb"
    subprocess.run(["dpkg-deb", "-Znone", "-b", folder / "tree", file], check=True, capture_output=True, timeout=20)
    return file


def pin(file: Path, name: str, version: str) -> Pin:
    return Pin(name=name, version=version, file=file.name, sha256=sha256_of(file))


def test_a_repository_has_exactly_the_pinned_packages(tmp_path: Path) -> None:
    pins = [pin(package(tmp_path, name, "1:2.3"), name, "1:2.3") for name in ("acl", "attr")]
    package(tmp_path, "other", "1")
    debs.repository(tmp_path / "repository", tmp_path, pins)
    index = (tmp_path / "repository" / "Packages").read_text()
    paragraphs = [dict(line.split(": ", 1) for line in text.splitlines()) for text in index.split("\n\n")]
    assert [each["Package"] for each in paragraphs] == ["acl", "attr"]
    assert paragraphs[0]["SHA256"] == pins[0].sha256
    assert (tmp_path / "repository" / paragraphs[0]["Filename"]).exists()
    assert len(list((tmp_path / "repository").glob("*.deb"))) == 2


def test_a_package_that_changed_is_not_the_pinned_one(tmp_path: Path) -> None:
    apt = debs.Apt(tmp_path, "bookworm")
    file = package(apt.archives, "acl", "1")
    pinned = pin(file, "acl", "1")
    apt.fetch([pinned])
    file.write_bytes(b"something else")
    with pytest.raises(ApplianceError, match="another hash"):
        apt.fetch([pinned])


def test_a_package_that_is_nowhere_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    apt = debs.Apt(tmp_path, "bookworm")
    gone = Pin(name="acl", version="1", file="acl_1_amd64.deb", sha256="0" * 64)
    with pytest.raises(ApplianceError, match="acl=1 of the lock file cannot be downloaded") as caught:
        apt.fetch([gone])
    assert "snapshot.debian.org" in caught.value.hint


def test_apt_uses_only_the_mirrors_of_this_machine(tmp_path: Path) -> None:
    apt = debs.Apt(tmp_path, "bookworm")
    assert apt.archives == tmp_path / "archives"
    assert (tmp_path / "status").read_text() == ""
    assert " bookworm main non-free-firmware\n" in (tmp_path / "etc/sources.list").read_text()


def test_the_mirrors_are_those_of_this_machine_but_only_debians() -> None:
    told = (
        "http://mirror.example/debian/ bookworm Debian\n"
        "http://mirror.example/debian/ bookworm-updates\n"
        "https://packages.example/ bookworm Example\n"
        "http://mirror.example/debian/ trixie Debian\n"
    )
    key = "signed-by=/usr/share/keyrings/debian-archive-keyring.gpg"
    assert debs.sources(told, "bookworm").splitlines() == [
        f"deb [{key}] http://mirror.example/debian/ bookworm main non-free-firmware",
        f"deb [{key}] http://mirror.example/debian/ bookworm-updates main non-free-firmware",
    ]


def test_a_machine_without_a_mirror_of_the_suite_is_told_what_to_do() -> None:
    with pytest.raises(ApplianceError, match="has no mirror of Debian bookworm"):
        debs.sources("https://packages.example/ bookworm Example\n", "bookworm")
