"""Virtual machines that run an image: how qemu is started, its serial console, its end."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from appliance.errors import ApplianceError
from appliance_images.tools import complaint, environment, missing, run

QEMU = "qemu-system-x86_64"
OVMF_CODE, OVMF_VARS = Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
FW_CFG = "opt/org.appliance/config"
MEMORY_MB = 640
CPU = "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt"
"""x86-64-v2, which a current wheel of numpy needs. All that qemu can emulate makes a start a tenth longer."""
FIRST_NIC_SLOT = 8
"""PCI slot of the first network card: the guest calls it ens8, the next ens9, and so on."""
FIRST_DISK_SLOT = 16
"""PCI slot of the first further disk. The guest numbers disks by slot: the system's comes before them."""
MENU = r"^Enter a number, or a command: "
"""The console waits for somebody."""
AGAIN_S = 5.0
"""What is typed while the console starts is lost."""
CONNECT_S = 20.0
SAVE_S = 120.0
MONITOR_PROMPT = b"(qemu) "
OUTPUT_MAX = 4 << 20
"""Characters of console output that are remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What a virtual machine is made of."""

    disk: Path
    folder: Path
    """For its sockets and what it writes; the disk itself stays as it is."""
    name: str = "node"
    uefi: bool = False
    netdevs: Sequence[str] = ()
    """Back ends, in the order of the cards: ``user,id=net0`` and so on with the identities net0, net1, …"""
    config: Path | None = None
    """Given to the guest by fw_cfg."""
    disks: Sequence[Path] = ()
    """Further disks, raw, read only."""
    targets: Sequence[Path] = ()
    """Further disks, raw, that the machine may write to."""
    is_stick: bool = False
    """The system is on a USB stick."""
    kvm: bool = False
    overlay: Path | None = None
    """A disk of an earlier machine that goes on; else a fresh layer above `disk`."""
    snapshot: str = ""
    """A moment of that earlier machine, of `VirtualMachine.save`, from which it goes on; else it boots."""
    is_held: bool = False
    """It waits for `VirtualMachine.go_on`, for instance until another one can go on in the same moment."""


def command(hardware: Hardware) -> list[str]:
    """How qemu is started; its overlay and firmware variables must exist in the folder."""
    folder, name = hardware.folder, hardware.name
    accelerators = ["-accel", "kvm"] if hardware.kvm else []
    argv = [
        QEMU, "-name", name, *accelerators, "-accel", "tcg,thread=multi,tb-size=256", "-cpu", CPU, "-smp", "2",
        "-m", str(MEMORY_MB), "-display", "none", "-nodefaults", "-no-user-config", "-device", "VGA,addr=2",
        "-chardev", f"socket,id=serial,path={console_path(hardware)},server=on,wait=off",
        "-serial", "chardev:serial", "-monitor", f"unix:{monitor_path(hardware)},server=on,wait=off",
        "-device", "virtio-rng-pci,addr=5",
        "-drive", f"if=none,id=system,file={overlay_path(hardware)},format=qcow2,cache=unsafe",
    ]  # fmt: skip
    if hardware.is_stick:
        argv += ["-device", "qemu-xhci,addr=3", "-device", "usb-storage,drive=system,bootindex=0,removable=on"]
    else:
        argv += ["-device", "virtio-blk-pci,drive=system,addr=3,bootindex=0"]
    if hardware.uefi:
        argv += ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={OVMF_CODE}"]
        argv += ["-drive", f"if=pflash,unit=1,format=raw,file={folder / f'{name}.vars'}"]
    further = [(disk, "on") for disk in hardware.disks] + [(disk, "off") for disk in hardware.targets]
    for number, (disk, is_fixed) in enumerate(further):
        argv += ["-drive", f"if=none,id=more{number},file={disk},format=raw,cache=unsafe,readonly={is_fixed}"]
        argv += ["-device", f"virtio-blk-pci,drive=more{number},addr={FIRST_DISK_SLOT + number:#x}"]
    for number, netdev in enumerate(hardware.netdevs):
        card = f"virtio-net-pci,netdev=net{number},addr={FIRST_NIC_SLOT + number:#x},mac={mac(name, number)}"
        argv += ["-netdev", netdev, "-device", f"{card},romfile="]
    if hardware.snapshot:
        argv += ["-loadvm", hardware.snapshot]
    if hardware.is_held:
        argv += ["-S"]
    if hardware.config is not None:
        argv += ["-fw_cfg", f"name={FW_CFG},file={hardware.config}"]
    return argv


def mac(name: str, number: int) -> str:
    """A locally administered address that differs by machine and card."""
    digits = int.from_bytes(name.encode()[-3:].rjust(3, b"\0"), "big")
    octets = (0x52, 0x54, *digits.to_bytes(3, "big"), number)
    return ":".join(f"{octet:02x}" for octet in octets)


def console_path(hardware: Hardware) -> Path:
    """The socket of the serial console."""
    return hardware.folder / f"{hardware.name}.console"


def monitor_path(hardware: Hardware) -> Path:
    """The socket of qemu's own command line."""
    return hardware.folder / f"{hardware.name}.monitor"


def overlay_path(hardware: Hardware) -> Path:
    """The layer that takes what the machine writes."""
    return hardware.overlay or hardware.folder / f"{hardware.name}.qcow2"


def prepare(hardware: Hardware) -> None:
    """Make the layer above the disk and the variables of the firmware."""
    overlay = overlay_path(hardware)
    if not overlay.exists():
        kind = "qcow2" if hardware.disk.suffix == ".qcow2" else "raw"
        backing = ("-b", hardware.disk.resolve(), "-F", kind)
        run("qemu-img", "create", "-q", "-f", "qcow2", *backing, overlay)
    variables = hardware.folder / f"{hardware.name}.vars"
    if hardware.uefi and not variables.exists():
        try:
            shutil.copyfile(OVMF_VARS, variables)
        except OSError as error:
            raise missing(f"UEFI firmware ({OVMF_VARS})") from error


class VirtualMachine:
    """A running machine with its console. Ends when its block ends."""

    def __init__(self, hardware: Hardware) -> None:
        self.hardware = hardware
        self.output = ""
        """Everything the console has printed."""
        self._at = 0
        prepare(hardware)
        self.began = time.monotonic()
        try:
            self._process = subprocess.Popen(
                command(hardware), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                env=environment(),
            )  # fmt: skip
        except FileNotFoundError as error:
            raise missing(QEMU) from error
        try:
            self.console = self._connect()
        except BaseException:
            self.kill()
            raise

    def __enter__(self) -> VirtualMachine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def kill(self) -> None:
        """Cut the power."""
        self._process.kill()
        self._process.wait()
        assert self._process.stderr is not None
        self._process.stderr.close()
        if hasattr(self, "console"):
            self.console.close()

    def wait_for(self, pattern: str, timeout_s: float) -> re.Match[str]:
        """The next match on the console after the last one.

        Raises:
            ApplianceError: It did not come in time, or the machine ended.
        """
        found = self._match(pattern, timeout_s)
        if found is None:
            why = "before the machine ended" if self._process.poll() is not None else f"within {timeout_s:g} s"
            raise ApplianceError(
                f"{self.hardware.name} did not print {pattern!r} {why}",
                hint=f"Its console ended with: {self.output[-1500:]}",
            )
        return found

    def prints(self, pattern: str, wait_s: float) -> bool:
        """Whether this comes on the console after the last match; then it is the last one."""
        return self._match(pattern, wait_s) is not None

    def _match(self, pattern: str, wait_s: float) -> re.Match[str] | None:
        end = time.monotonic() + wait_s
        while True:
            found = re.compile(pattern, re.M).search(self.output, self._at)
            if found is not None:
                self._at = found.end()
                return found
            left = end - time.monotonic()
            if left <= 0 or not self._read(left):
                return None

    def send(self, line: str) -> None:
        """Type a line."""
        self.console.settimeout(CONNECT_S)
        self.console.sendall(line.encode() + b"\r")

    def ask(self, line: str, timeout_s: float) -> str:
        """What the menu of the console prints for a command, until it waits for the next one.

        Raises:
            ApplianceError: That did not happen in time.
        """
        if re.search(MENU, self.output, re.M) is None:
            self.reach_menu(timeout_s)
        self.send(line)
        self.wait_for(re.escape(line) + r"\n", timeout_s)
        start = self._at
        end = self.wait_for(MENU, timeout_s)
        return self.output[start : end.start()]

    def pause(self) -> None:
        """Let time stand still, until the end or until a copy goes on from a moment that is saved now.

        Raises:
            ApplianceError: qemu did not do so.
        """
        self._order("stop")

    def go_on(self) -> None:
        """End a pause, or begin if the machine was held.

        Raises:
            ApplianceError: qemu did not do so.
        """
        self._order("cont")

    def save(self, name: str) -> None:
        """Keep this moment, memory included, in the layer above the disk, from where a copy of it may go on.

        Raises:
            ApplianceError: qemu did not do so.
        """
        self._order(f"savevm {name}")

    def _order(self, line: str) -> None:
        """Type a line on qemu's own command line."""
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(SAVE_S)
            channel.connect(os.fspath(monitor_path(self.hardware)))
            said = b""
            for text in ("", f"{line}\n"):
                channel.sendall(text.encode())
                while not said.endswith(MONITOR_PROMPT):
                    said += channel.recv(65536)
                said, answer = b"", said
        if b"rror" in answer:
            raise ApplianceError(f"qemu refuses `{line}`: {complaint(answer)}", hint="Is there room for the memory?")

    def reach_menu(self, timeout_s: float) -> None:
        """Press Enter until the menu of the console answers.

        Raises:
            ApplianceError: It did not in time.
        """
        end = time.monotonic() + timeout_s
        while True:
            self.send("")
            try:
                self.wait_for(MENU, AGAIN_S)
            except ApplianceError:
                if time.monotonic() > end:
                    raise
            else:
                return

    def uptime_s(self) -> float:
        """Seconds since power-on."""
        return time.monotonic() - self.began

    def _read(self, timeout_s: float) -> bool:
        """Read what the console prints; false when there will be nothing more."""
        self.console.settimeout(timeout_s)
        try:
            data = self.console.recv(65536)
        except TimeoutError:
            return True
        except OSError:
            return False
        self.output = self.output + data.decode(errors="replace").replace("\r", "")
        if len(self.output) > OUTPUT_MAX:
            dropped = len(self.output) - OUTPUT_MAX // 2
            self.output, self._at = self.output[dropped:], max(self._at - dropped, 0)
        return bool(data)

    def _connect(self) -> socket.socket:
        end = time.monotonic() + CONNECT_S
        channel = socket.socket(socket.AF_UNIX)
        while True:
            with contextlib.suppress(OSError):
                channel.connect(os.fspath(console_path(self.hardware)))
                return channel
            try:
                self._process.wait(0.02)
            except subprocess.TimeoutExpired:
                if time.monotonic() < end:
                    continue
            assert self._process.stderr is not None
            self._process.kill()
            raise ApplianceError(
                f"qemu did not start: {complaint(self._process.stderr.read())}",
                hint="See `appliance image boot --help`.",
            )
