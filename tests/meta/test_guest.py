"""The runner of the virtual machine, without one: what it boots, and what it makes of what is printed."""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from tests.meta.source import ROOT


@pytest.fixture(scope="module")
def guest() -> ModuleType:
    spec = importlib.util.spec_from_file_location("guest", ROOT / ".ci" / "guest.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def files(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """Mode and content of every file of a cpio archive, up to its end."""
    found, at = {}, 0
    while True:
        assert archive[at : at + 6] == b"070701"
        numbers = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        name = archive[at + 110 : at + 110 + numbers[11] - 1].decode()
        start = (at + 110 + numbers[11] + 3) & ~3
        if name == "TRAILER!!!":
            return found
        found[name] = (numbers[1], archive[start : start + numbers[6]])
        at = (start + numbers[6] + 3) & ~3


def test_the_kernel_is_the_one_that_the_package_of_packages_names(guest: ModuleType) -> None:
    depends = "linux-image-amd64\n  Depends: linux-image-6.1.0-50-amd64\n  Breaks: x\n"
    assert guest.kernel_package(depends) == "linux-image-6.1.0-50-amd64"
    with pytest.raises(guest.GuestError, match="apt-get update"):
        guest.kernel_package("")


def test_what_a_module_needs_comes_before_it_and_once(guest: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "modules.dep").write_text("a/top-one.ko: b/mid.ko c/low.ko\nb/mid.ko: c/low.ko\nc/low.ko:\n")
    found = guest.needed(tmp_path, ["mid", "built_in", "top_one"])
    assert [path.name for path in found] == ["low.ko", "mid.ko", "top-one.ko"]


def test_the_first_root_runs_the_command_and_says_how_it_ended(
    guest: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = tmp_path / "modules" / "6.1.0"
    (version / "kernel").mkdir(parents=True)
    (version / "modules.dep").write_text("kernel/overlay.ko:\n")
    (version / "kernel" / "overlay.ko").write_bytes(b"module")
    (tmp_path / "busybox").write_bytes(b"busybox itself")
    monkeypatch.setattr(guest, "BUSYBOX", tmp_path / "busybox")
    found = files(guest.initramfs(tmp_path, guest.job(["tests/guest", "-k", "it's"])))
    assert found["modules/overlay.ko"][1] == b"module"
    assert found["bin/sh"] == (0o120777, b"busybox")
    mode, init = found["init"]
    assert mode == 0o100755
    assert b"insmod /modules/overlay.ko" in init
    assert b"tests/guest -k" in init
    assert f"mount --bind /host{tmp_path}/modules".encode() in init


def test_the_exit_status_of_the_guest_is_that_of_its_command(
    guest: ModuleType, capfd: pytest.CaptureFixture[str]
) -> None:
    script = f"print('BIOS'); print('{guest.UP}'); print('2 failed'); print('{guest.ENDED}3'); print('power down')"
    assert guest.boot([sys.executable, "-c", script]) == 3
    assert capfd.readouterr().out == "2 failed\n"


@pytest.mark.parametrize("is_up", [False, True])
def test_a_guest_that_hangs_is_ended(guest: ModuleType, is_up: bool) -> None:
    script = f"import time; print('{guest.UP if is_up else 'BIOS'}', flush=True); time.sleep(60)"
    began = time.monotonic()
    with pytest.raises(guest.GuestError, match=f"did not {'finish' if is_up else 'boot'} within"):
        guest.boot([sys.executable, "-c", script], boot_s=60 if is_up else 0.5, run_s=0.5)
    assert time.monotonic() - began < 30


def test_a_guest_that_ends_without_a_word_is_an_error(guest: ModuleType) -> None:
    with pytest.raises(guest.GuestError, match="did not boot"):
        guest.boot([sys.executable, "-c", "print('panic')"])
