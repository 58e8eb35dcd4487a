#!/usr/bin/env python3
"""Runs pytest under Debian's kernel, in a virtual machine: for what the kernel of this machine does not have.

    .venv/bin/python .ci/guest.py tests/guest        whatever follows is given to pytest

The machine has this machine's files as they are, nothing of what it writes stays, and no network card. It boots from
Debian's own kernel package, which is unpacked into `CACHE` and never installed, and needs no hardware
virtualization: some five seconds until Python starts. Only the standard library.
"""

from __future__ import annotations

import gzip
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path("/var/cache/ha-appliance/guest")
META_PACKAGE = "linux-image-amd64"
EARLY_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
"""What finds the files of this machine; everything else is loaded from there."""
BUSYBOX = Path("/bin/busybox")
COMMANDS = ("qemu-system-x86_64", "apt-get", "apt-cache", "dpkg-deb", "depmod", str(BUSYBOX))
APPLETS = ("sh", "mount", "mkdir", "ln", "insmod", "chroot", "poweroff", "echo", "ip")
MEMORY_MB = 1536
BOOT_S, RUN_S = 120, 780
"""Together what a stage may take."""
UP, ENDED = "guest is up", "guest exit status "
KERNEL_LINE = "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off"
INIT = """#!/bin/sh
export PATH=/bin
mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev
ln -s /proc/self/fd /dev/fd; ln -s fd/0 /dev/stdin; ln -s fd/1 /dev/stdout; ln -s fd/2 /dev/stderr
{insmods}
mkdir -p /host /top /root
mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=512000,cache=loose host /host || poweroff -f
mount -t tmpfs t /top; mkdir /top/upper /top/work
mount -t overlay -o lowerdir=/host,upperdir=/top/upper,workdir=/top/work o /root || poweroff -f
mount -t proc p /root/proc; mount -t sysfs s /root/sys; mount --bind /dev /root/dev
mount -t tmpfs t /root/run
mkdir -p /root/run/netns /root/lib/modules /root/dev/pts; mount -t devpts d /root/dev/pts
mount --bind /host{modules} /root/lib/modules
ip link set lo up
echo "{up}"
chroot /root /bin/sh -c {job}
echo "{ended}$?"
poweroff -f
"""
MODPROBE = '#!/bin/sh\nexec /bin/chroot /root /sbin/modprobe "$@"\n'
"""The kernel asks for modules in its first root, where there are none."""


class GuestError(Exception):
    """The virtual machine cannot be made, or did not come to an end."""


def main(arguments: list[str]) -> int:
    """Boot, run pytest with these arguments, and return its exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # an exit ends the machine too, death would not
    os.environ["PATH"] = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    try:
        check_commands()
        compile_all()
        kernel = unpacked_kernel()
        with tempfile.TemporaryDirectory(prefix="appliance-guest-") as folder:
            initrd = Path(folder) / "initrd"
            initrd.write_bytes(gzip.compress(initramfs(kernel, job(arguments)), 1))
            return boot(qemu_command(kernel / "vmlinuz", initrd))
    except (GuestError, OSError, subprocess.SubprocessError) as error:
        print(f"guest: {error}", file=sys.stderr)
        return 1


def check_commands(commands: Iterable[str] = COMMANDS) -> None:
    """Raise `GuestError` that names what is not installed."""
    missing = [command for command in commands if shutil.which(command) is None]
    if missing:
        raise GuestError(f"needs {', '.join(missing)}; `make setup` installs what is missing")


def compile_all() -> None:
    """Compile what will run: the machine, some fifteen times slower, would do so in each of its processes."""
    folders = [str(ROOT / name) for name in ("core", "plugins", "images", "tests")]
    subprocess.run([sys.executable, "-m", "compileall", "-q", *folders], check=True, timeout=RUN_S)


# --- the kernel --------------------------------------------------------------------------------------------------


def unpacked_kernel() -> Path:
    """The folder of the newest kernel of Debian's: ``vmlinuz`` and ``modules``; made on first use."""
    try:
        return unpacked(newest_kernel())
    except (GuestError, subprocess.CalledProcessError) as error:
        print(f"guest: the package lists are old or absent: apt-get update ({error})", flush=True)
    subprocess.run(["apt-get", "-qq", "update"], check=True, timeout=RUN_S)
    return unpacked(newest_kernel())


def newest_kernel() -> str:
    """The package that the lists of this machine name; those may be older than what can be downloaded."""
    return kernel_package(output("apt-cache", "depends", META_PACKAGE))


def unpacked(package: str) -> Path:
    """The folder of this kernel, downloaded unless it is there already."""
    place = CACHE / package
    if (place / "complete").exists():
        return place
    print(f"guest: getting {package} into {CACHE}", flush=True)
    shutil.rmtree(place, ignore_errors=True)
    (place / "deb").mkdir(parents=True)
    fetch = ["apt-get", "-qq", "download", "-o", "APT::Sandbox::User=root", package]
    subprocess.run(fetch, cwd=place / "deb", check=True, timeout=RUN_S)
    (deb,) = (place / "deb").glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", deb, place / "files"], check=True, timeout=RUN_S)
    (modules,) = (place / "files/lib/modules").iterdir()
    subprocess.run(["depmod", "-b", place / "files", modules.name], check=True, timeout=RUN_S)
    (vmlinuz,) = (place / "files/boot").glob("vmlinuz-*")
    vmlinuz.rename(place / "vmlinuz")
    (place / "files/lib/modules").rename(place / "modules")
    shutil.rmtree(place / "deb")
    (place / "complete").touch()
    return place


def kernel_package(depends: str) -> str:
    """The name of the kernel that ``apt-cache depends`` of the package of packages tells."""
    found = re.search(r"Depends: (linux-image-\S+)", depends)
    if found is None:
        raise GuestError(f"{META_PACKAGE} is in no package list: run 'apt-get update' (as root)")
    return found[1]


def output(*argv: str) -> str:
    """What a command prints."""
    return subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout


# --- the first root ----------------------------------------------------------------------------------------------


def job(arguments: Iterable[str]) -> str:
    """The command that is run in the machine."""
    python = ROOT / ".venv/bin/python"
    pytest = [str(python), "-m", "pytest", "-q", "--color=no", "-W", "error", "-p", "no:cacheprovider", *arguments]
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    settings = f"PATH={path} HOME=/root TMPDIR=/run"
    return f"cd {shlex.quote(str(ROOT))} && {settings} {shlex.join(pytest)} </dev/null"


def initramfs(kernel: Path, command: str) -> bytes:
    """The archive that the kernel starts with: busybox, a few modules and the script that does everything."""
    (version,) = (kernel / "modules").iterdir()
    modules = list(needed(version, EARLY_MODULES))
    init = INIT.format(
        insmods="\n".join(f"insmod /modules/{module.name}" for module in modules),
        modules=kernel / "modules",
        up=UP,
        ended=ENDED,
        job=shlex.quote(command),
    )
    archive = [entry(name, stat.S_IFDIR | 0o755) for name in ("bin", "sbin", "modules", "proc", "sys", "dev")]
    archive.append(entry("init", stat.S_IFREG | 0o755, init.encode()))
    archive.append(entry("sbin/modprobe", stat.S_IFREG | 0o755, MODPROBE.encode()))
    archive.append(entry("bin/busybox", stat.S_IFREG | 0o755, BUSYBOX.read_bytes()))
    archive += [entry(f"bin/{applet}", stat.S_IFLNK | 0o777, b"busybox") for applet in APPLETS]
    archive += [entry(f"modules/{module.name}", stat.S_IFREG | 0o644, module.read_bytes()) for module in modules]
    return b"".join([*archive, entry("TRAILER!!!", 0)])


def needed(version: Path, names: Iterable[str]) -> Iterator[Path]:
    """Files of these modules and of all they depend on, in the order in which they can be loaded."""
    depends = {}
    for line in (version / "modules.dep").read_text().splitlines():
        file, _, rest = line.partition(":")
        depends[Path(file).name.split(".")[0].replace("-", "_")] = (file, rest.split())
    given = set[str]()
    for name in names:
        if name not in depends:
            continue  # built into this kernel
        file, others = depends[name]
        for each in [*reversed(others), file]:
            if each not in given:
                given.add(each)
                yield version / each


def entry(name: str, mode: int, data: bytes = b"") -> bytes:
    """One file of a cpio archive (the "newc" form, Documentation/driver-api/early-userspace)."""
    path = name.encode() + bytes(1)
    numbers = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
    head = b"070701" + b"".join(b"%08x" % number for number in numbers) + path
    return padded(head) + padded(data)


def padded(data: bytes) -> bytes:
    """Up to the next multiple of four."""
    return data + bytes(-len(data) % 4)


# --- the machine -------------------------------------------------------------------------------------------------


def qemu_command(vmlinuz: Path, initrd: Path) -> list[str]:
    """How the machine is started."""
    share = "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"
    return [
        *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", str(MEMORY_MB)),
        *("-nographic", "-no-reboot", "-nic", "none", "-virtfs", share),
        *("-kernel", str(vmlinuz), "-initrd", str(initrd), "-append", KERNEL_LINE),
    ]


def boot(command: list[str], boot_s: float = BOOT_S, run_s: float = RUN_S) -> int:
    """Start it, show what it prints, and return the exit status of the command in it."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    assert process.stdout is not None
    is_late = threading.Event()

    def expire() -> None:
        is_late.set()
        process.kill()

    clock = threading.Timer(boot_s, expire)
    clock.start()
    status, is_up, last = None, False, deque[str](maxlen=20)
    try:
        for line in process.stdout:
            text = line.rstrip()
            last.append(text)
            if text.endswith(UP):
                is_up = True
                clock.cancel()
                clock = threading.Timer(run_s, expire)
                clock.start()
            elif found := re.search(rf"{ENDED}(\d+)", text):  # a message of the kernel may follow in the same line
                status = int(found[1])
            elif is_up and status is None:
                print(text, flush=True)
    finally:
        clock.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
    if status is None:
        what, limit = ("finish", run_s) if is_up else ("boot", boot_s)
        how = f"did not {what} within {limit:g} s" if is_late.is_set() else f"ended by itself and did not {what}"
        said = "\n    ".join(last)
        raise GuestError(f"the virtual machine {how}; started as: {shlex.join(command)}; its last lines:\n    {said}")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
