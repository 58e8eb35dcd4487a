"""The runner of the virtual machine, without one: what it boots, and what it makes of what is printed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from itertools import pairwise
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
    found: dict[str, tuple[int, bytes]] = {}
    at = 0
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
    assert b"DONTWRITE" not in init, "each process of it would compile all that it imports"
    assert f"mount --bind /host{tmp_path}/modules".encode() in init


def test_what_will_run_is_compiled_by_this_machine(
    guest: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("core", "plugins", "images", "tests"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "module.py").write_text("")
    monkeypatch.setattr(guest, "ROOT", tmp_path)
    guest.compile_all()
    compiled = [path.parent.parent.name for path in tmp_path.rglob("*.pyc")]
    assert sorted(compiled) == ["core", "images", "plugins", "tests"]


def test_the_machine_reads_our_files_and_reaches_no_network(guest: ModuleType) -> None:
    command = guest.qemu_command(Path("/k/vmlinuz"), Path("/i/initrd"))
    given = dict(pairwise(command))
    assert "readonly=on" in given["-virtfs"].split(",")
    assert given["-nic"] == "none"
    assert given["-accel"].startswith("tcg")
    assert (given["-kernel"], given["-initrd"]) == ("/k/vmlinuz", "/i/initrd")
    assert "panic=-1" in given["-append"]
    assert "-no-reboot" in command, "after a panic it ends instead of starting again"


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


def test_a_guest_that_ends_too_early_is_an_error_with_what_it_said(guest: ModuleType) -> None:
    with pytest.raises(guest.GuestError, match=r"ended by itself and did not boot.*\n +no such mount"):
        guest.boot([sys.executable, "-c", "print('no such mount')"])


def test_a_message_of_the_kernel_behind_the_exit_status_does_no_harm(guest: ModuleType) -> None:
    assert guest.boot([sys.executable, "-c", f"print('{guest.UP}'); print('{guest.ENDED}4[   12.3] reboot')"]) == 4


def test_what_is_not_installed_is_named(guest: ModuleType) -> None:
    with pytest.raises(guest.GuestError, match=r"needs no-such-qemu; `make setup`"):
        guest.check_commands(["sh", "no-such-qemu"])


def test_a_kernel_that_is_no_longer_offered_is_looked_up_again_with_new_lists(
    guest: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = tmp_path / "lists"
    lists.write_text("old")
    (tmp_path / "apt-get").write_text(f"#!/bin/sh\necho new > {lists}\n")
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    def unpacked(package: str) -> Path:
        if package == "old":
            raise subprocess.CalledProcessError(100, ["apt-get", "download", package])
        return tmp_path / package

    monkeypatch.setattr(guest, "newest_kernel", lambda: lists.read_text().strip())
    monkeypatch.setattr(guest, "unpacked", unpacked)
    assert guest.unpacked_kernel() == tmp_path / "new"


def test_the_machine_ends_when_its_runner_is_asked_to(guest: ModuleType, tmp_path: Path) -> None:
    # The runner has to have left the call that starts it: a signal in there leaves it no time to know what to end.
    (tmp_path / "machine").write_text(
        f"sleep 1; echo $$ > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; sleep 60"
    )
    runner = (
        f"import sys; sys.path.insert(0, {str(ROOT / '.ci')!r}); sys.dont_write_bytecode = True; import guest; "
        "guest.check_commands = lambda: None; guest.unpacked_kernel = lambda: guest.Path('.'); "
        "guest.initramfs = lambda *_: b''; guest.compile_all = lambda: None; "
        f"guest.qemu_command = lambda *_: ['sh', {str(tmp_path / 'machine')!r}]; sys.exit(guest.main([]))"
    )
    process = subprocess.Popen([sys.executable, "-c", runner])
    try:
        assert eventually_exists(tmp_path / "pid")
        process.terminate()
        assert process.wait(20) == 1
    finally:
        process.kill()
        process.wait()
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def eventually_exists(path: Path) -> bool:
    """Whether the file is there within 20 s."""
    end = time.monotonic() + 20
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.02)
    return path.exists()
