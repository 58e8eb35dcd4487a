"""`appliance image …`: what an operator types. The work is done elsewhere, and imported when it is asked for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from appliance.errors import UsageError
from appliance.plugin import Argument, Command, Where

MIB = 1 << 20
FLAVOR_NAMES = ("vm", "usb")


def build(
    config: str | None,
    output: str,
    flavor: str,
    plugin: str,
    key: str | None,
    lock: str | None,
    cache: str | None,
) -> dict[str, Any]:
    """Build an image."""
    from appliance_images.build import CACHE, Order
    from appliance_images.build import build as make

    order = Order(
        output=Path(output),
        config=Path(config) if config else None,
        flavor=flavor,
        plugins=_words(plugin),
        key=Path(key) if key else None,
        lock=Path(lock) if lock else None,
        cache=Path(cache) if cache else CACHE,
    )
    return make(order, _say)


def render_build(made: dict[str, Any]) -> str:
    """What was made, a line each."""
    files = [f"  {name:<44} {size / MIB:8.1f} MiB on disk" for name, size in made["files"].items()]
    return "\n".join(
        [
            f"{made['flavor']} image with {', '.join(made['plugins'])}; kernel {made['kernel']}",
            *files,
            f"system slot {made['slot_bytes'] / MIB:.1f} MiB; sha256 of the disk {made['sha256']}",
            "signed" if made["signed"] else "not signed: an image that was built without --key accepts no upgrades",
            f"took {made['seconds']:.0f} s",
        ]
    )


def boot(image: str, cluster: bool, configs: str, uefi: bool, kvm: bool) -> int:
    """Start an image in qemu."""
    from appliance_images.session import run_session

    return run_session(
        Path(image), cluster=cluster, configs=[Path(each) for each in _words(configs)], uefi=uefi, kvm=kvm
    )


def inspect(image: str) -> dict[str, Any]:
    """What a disk is made of, and which slot boots."""
    from appliance_images.inspect import inspect as look

    return look(Path(image))


def inject(image: str, config: str) -> dict[str, Any]:
    """Put a configuration into a disk image."""
    from appliance_images.inspect import inject as put

    return put(Path(image), Path(config))


def key(file: str) -> dict[str, str]:
    """Make a key that signs images."""
    from appliance_images.signing import make

    return {"file": file, "public": make(Path(file)).strip()}


def add(file: str) -> dict[str, Any]:
    """Write an upgrade into the other slot."""
    from appliance_images import slots

    return slots.add(slots.this_machine(), Path(file))


def listing() -> list[dict[str, Any]]:
    """Both slots."""
    from appliance_images import slots

    return slots.listing(slots.this_machine())


def default(slot: str) -> dict[str, Any]:
    """Let a slot boot next."""
    from appliance_images import slots

    return slots.choose(slots.this_machine(), slot)


def rollback() -> dict[str, Any]:
    """Let the other slot boot next."""
    from appliance_images import grubenv, slots

    machine = slots.this_machine()
    return slots.choose(machine, grubenv.other(machine.slot))


def console() -> int:
    """The console of an image, for ever."""
    from appliance_images.console import console as attend

    return attend()


def setup() -> dict[str, Any]:
    """The wizard, a password, and the node that comes of it."""
    from appliance_images import firstboot

    if not sys.stdin.isatty():
        raise UsageError("this asks questions and needs a terminal", hint="Bring a configuration in another way.")
    return firstboot.set_up()


def render_setup(made: dict[str, Any]) -> str:
    """What is next."""
    from appliance_images import firstboot

    return firstboot.render(made)


def password() -> dict[str, str]:
    """Another password for the console's user."""
    from appliance_images import firstboot

    return firstboot.change_password()


def disks() -> list[dict[str, Any]]:
    """Disks of this machine."""
    from appliance_images import slots
    from appliance_images.disks import disks as found

    return [
        {
            "disk": disk.name,
            "mib": disk.size // MIB,
            "model": disk.model,
            "holds": disk.content,
            "free": not disk.is_used,
        }
        for disk in found(slots.this_machine().stem)
    ]


def install(disk: str, config: str | None, yes: bool) -> dict[str, Any]:
    """Put the running system onto a disk of this machine."""
    from appliance_images.installing import install as put

    return put(disk, config, is_sure=yes, say=_say)


def health() -> int:
    """Keep a healthy system; leave a sick one that is on trial."""
    from appliance_images import health as judge
    from appliance_images import slots
    from appliance_images.tools import run

    machine = slots.this_machine()
    problems = judge.settled()
    if not problems:
        slots.mark_good(machine)
        _say(f"slot {machine.slot} is healthy and stays")
        return 0
    _say(f"slot {machine.slot} is not healthy: {'; '.join(problems)}")
    if judge.must_go_back(machine):
        _say("the other slot is started")
        run("systemctl", "reboot")
    return 1


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _words(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(",") if part)


IMAGE = Argument(name="image", required=True, help="the .raw or .qcow2 file of a build")
COMMANDS = (
    Command(
        path=("image", "build"),
        help="Build a bootable image from a configuration and only the plugins that it uses.",
        run=build,
        render=render_build,
        where=Where.LOCAL,
        arguments=(
            Argument(
                name="--config", help="the configuration (-c) it starts with; without, all bundled plugins and none"
            ),
            Argument(name="--output", default="out", help="the folder (-o) for what is made"),
            Argument(
                name="--flavor", default="vm", choices=FLAVOR_NAMES, help="vm: virtual machines; usb: hardware, too"
            ),
            Argument(name="--plugin", default="", help="more plugins: names and .whl files, with commas"),
            Argument(name="--key", help="signs image and upgrade file; `appliance image key` makes one"),
            Argument(name="--lock", help="the lock file; else FLAVOR.lock.json in the output folder"),
            Argument(name="--cache", help="where packages are kept; else /var/cache/ha-appliance/images"),
        ),
    ),
    Command(
        path=("image", "boot"),
        help="Start an image in qemu, or two as a cluster, with the console on this terminal.",
        run=boot,
        where=Where.LOCAL,
        arguments=(
            IMAGE,
            Argument(name="--cluster", flag=True, help="two nodes with the segments wan, lan and sync"),
            Argument(name="--configs", default="", help="one configuration for each node, with commas"),
            Argument(name="--uefi", flag=True, help="start with UEFI instead of BIOS"),
            Argument(name="--kvm", flag=True, help="use the hardware's virtualization"),
        ),
    ),
    Command(
        path=("image", "inspect"),
        help="What a disk image is made of: partitions, versions, which slot boots.",
        run=inspect,
        where=Where.LOCAL,
        arguments=(IMAGE,),
    ),
    Command(
        path=("image", "inject"),
        help="Put a configuration into a raw disk image, which may have been flashed already.",
        run=inject,
        where=Where.LOCAL,
        arguments=(
            IMAGE,
            Argument(name="--config", required=False, default="appliance.toml", help="the configuration (-c)"),
        ),
    ),
    Command(
        path=("image", "key"),
        help="Make a key that signs images.",
        run=key,
        where=Where.LOCAL,
        arguments=(Argument(name="file", required=True, help="a new file"),),
    ),
    Command(
        path=("image", "add"),
        help="Write an upgrade into the system slot that does not run; it boots next, and stays if it is healthy.",
        run=add,
        where=Where.LOCAL,
        arguments=(Argument(name="file", required=True, help="an .upgrade file, or a disk that holds one"),),
    ),
    Command(path=("image", "list"), help="Both system slots of this machine.", run=listing, where=Where.LOCAL),
    Command(
        path=("image", "default"),
        help="Let a slot boot next, and stay if it is healthy.",
        run=default,
        where=Where.LOCAL,
        arguments=(Argument(name="slot", required=True, choices=("a", "b"), help="a or b"),),
    ),
    Command(path=("image", "rollback"), help="Let the other slot boot next.", run=rollback, where=Where.LOCAL),
    Command(
        path=("image", "disks"),
        help="Disks of this machine, and what is on them.",
        run=disks,
        where=Where.LOCAL,
    ),
    Command(
        path=("image", "install"),
        help="Put the system that runs here onto a disk of this machine, which then starts without the stick.",
        run=install,
        where=Where.LOCAL,
        arguments=(
            Argument(name="disk", required=True, help="its name, see `appliance image disks`; what is on it is lost"),
            Argument(
                name="--config",
                choices=("copy", "keep", "none"),
                help="copy: that of this system; keep: that on the disk; else keep if there is one, or copy",
            ),
            Argument(name="--yes", flag=True, help="do not ask"),
        ),
    ),
    Command(
        path=("image", "setup"),
        help="On a running image: the wizard, a password, and the node that comes of it.",
        run=setup,
        render=render_setup,
        where=Where.LOCAL,
    ),
    Command(
        path=("image", "password"),
        help="On a running image: another password for the user admin.",
        run=password,
        where=Where.LOCAL,
    ),
    Command(
        path=("image", "console"),
        help="The console of a running image: log in if it is asked for, the wizard at a first start, the menu.",
        run=console,
        where=Where.LOCAL,
    ),
    Command(
        path=("image", "health"),
        help="Keep this system if it is healthy; if it is on trial and is not, start the other one.",
        run=health,
        where=Where.LOCAL,
    ),
)
