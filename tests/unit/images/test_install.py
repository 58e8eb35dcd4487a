"""Installing on a disk: every byte that is needed, identities of its own, and nothing without a yes."""

from __future__ import annotations

import io
import os
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.console.wizard.askers import Terminal
from appliance.errors import ApplianceError, UsageError
from appliance_images import disks, gpt, install, installing
from appliance_images.slots import Machine

MIB = 1 << 20
SIZES = (MIB, 2 * MIB - 4096)
SYSTEM = b"".join(struct.pack("<4s36xQ", b"hsqs", size - 1000).ljust(size, b"s") for size in SIZES)
WISHES = [gpt.Wish(name, gpt.LINUX_DATA, size * MIB) for name, size in zip(install.NAMES, (1, 2, 4, 4, 2), strict=True)]
PARTS = gpt.placed(WISHES, "stick")
START = {each.name: each.start for each in PARTS}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDisk(disks.Disk):
    """A disk that is a file."""

    path: Path

    @property
    def device(self) -> Path:
        """The file."""
        return self.path


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    path, size = tmp_path / "stick", gpt.disk_bytes(PARTS)
    head, tail = gpt.tables(PARTS, "stick", size)
    with path.open("wb") as file:
        file.truncate(size)
        os.pwrite(file.fileno(), gpt.protective_mbr(b"code", size) + head, 0)
        os.pwrite(file.fileno(), tail, size - len(tail))
        for name, data in (("bios", b"core"), ("esp", b"fat"), ("slot-b", SYSTEM), ("config", b"stick's")):
            os.pwrite(file.fileno(), data, START[name])
    return path


@pytest.fixture
def source(stick: Path) -> install.Source:
    """The stick, whose second system runs."""
    return install.source_of(Machine(slot="b", esp="", stem=""), stick)


@pytest.fixture
def target(tmp_path: Path) -> FileDisk:
    path = tmp_path / "target"
    path.write_bytes(os.urandom(MIB) * 20)
    return FileDisk(name="sdb", size=20 * MIB, path=path)


def put(source: install.Source, target: FileDisk, *, keep: bool = False) -> str:
    """What concerns the disk itself; file systems are made in the tier `image`."""
    digest = install.write(source, target, keep=keep, say=lambda _: None)
    with target.path.open("r+b") as disk, source.device.open("rb") as own:
        install.finish(source, own.fileno(), disk.fileno())
    return digest


def test_the_running_system_is_on_the_disk_which_has_identities_of_its_own(
    source: install.Source, target: FileDisk
) -> None:
    put(source, target)
    data = target.path.read_bytes()
    assert data[START["slot-a"] :][: len(SYSTEM)] == SYSTEM
    assert data[START["bios"] :][:4] == b"core"
    assert data[START["esp"] :][:3] == b"fat"
    assert data[START["slot-b"] :][:MIB] == bytes(MIB)
    assert data.startswith(b"code")
    parts = gpt.parse(data)
    assert [(each.name, each.start) for each in parts] == [(each.name, each.start) for each in PARTS]
    assert not {each.guid for each in parts} & {each.guid for each in PARTS}


def test_a_configuration_that_is_kept_is_not_touched(source: install.Source, target: FileDisk) -> None:
    put(source, target)
    with target.path.open("r+b") as file:
        os.pwrite(file.fileno(), b"kept", START["config"])
    assert install.same_layout(source, target.path)
    before = gpt.parse(target.path.read_bytes())
    put(source, target, keep=True)
    data = target.path.read_bytes()
    assert data[START["config"] :][:4] == b"kept"
    after = gpt.parse(data)
    assert after[2].guid != before[2].guid


def test_what_was_cut_short_does_not_start(source: install.Source, target: FileDisk) -> None:
    install.write(source, target, keep=False, say=lambda _: None)
    data = target.path.read_bytes()
    assert data.startswith(install.NO_SYSTEM)
    assert data[START["esp"] :][:MIB] == bytes(MIB), "and UEFI finds no file system"


def test_a_disk_that_loses_bytes_is_noticed(
    source: install.Source, target: FileDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(handle: int) -> None:
        os.pwrite(handle, b"lost", START["slot-a"] + MIB)

    monkeypatch.setattr(install, "forget_cached", lose)
    with pytest.raises(ApplianceError, match="does not keep what is written"):
        put(source, target)


def test_too_small_a_disk_and_a_source_that_is_none_are_refused(
    source: install.Source, target: FileDisk, tmp_path: Path
) -> None:
    small = FileDisk(name="sdb", size=4 * MIB, path=target.path)
    with pytest.raises(UsageError, match="has 4 MiB, and 15 are needed"):
        install.install(source, small, keep=False, config=None, say=lambda _: None)
    assert not install.same_layout(source, target.path)
    with pytest.raises(ApplianceError, match="no GPT"):
        install.source_of(Machine(slot="a", esp="", stem=""), target.path)
    with pytest.raises(ApplianceError, match="its system is damaged"):
        install.source_of(Machine(slot="a", esp="", stem=""), source.device)


@pytest.mark.parametrize(
    ("wish", "is_there", "expected"),
    [(None, True, "keep"), (None, False, "copy"), ("copy", True, "copy"), ("none", True, "none")],
)
def test_a_configuration_on_the_disk_is_kept_unless_something_else_is_wanted(
    wish: str | None, is_there: bool, expected: str
) -> None:
    assert installing.plan(wish, is_there=is_there) == expected


def test_what_is_not_there_cannot_be_kept() -> None:
    with pytest.raises(UsageError, match="no configuration on that disk"):
        installing.plan("keep", is_there=False)


def test_somebody_has_to_type_the_name_of_the_disk(target: FileDisk) -> None:
    screen = io.StringIO()
    installing.agree(Terminal(io.StringIO("sdb\n"), screen), target, "copy")
    assert "sdb: disk, 20 MiB, no partition table." in screen.getvalue()
    assert "Everything on it is lost. It gets the configuration" in screen.getvalue()
    with pytest.raises(UsageError, match="nothing was installed"):
        installing.agree(Terminal(io.StringIO("yes\n"), screen), target, "keep")


def test_an_agreement_needs_somebody(monkeypatch: pytest.MonkeyPatch, stick: Path, target: FileDisk) -> None:
    machine = Machine(slot="b", esp="", stem="", disk=stick)
    monkeypatch.setattr(installing.slots, "this_machine", lambda: machine)
    monkeypatch.setattr(installing, "disks", lambda stem: iter([target]))
    monkeypatch.setattr("sys.stdin", io.StringIO("sdb\n"))
    before = target.path.read_bytes()
    with pytest.raises(UsageError, match="nobody is here to be asked"):
        installing.install("sdb", None, is_sure=False, say=lambda _: None)
    assert target.path.read_bytes() == before
