"""`image install`: shows what would be lost, asks, and has it done."""

from __future__ import annotations

import sys
from typing import Any

from appliance.console.wizard.askers import Asker, Question, Terminal
from appliance.errors import UsageError
from appliance_images import install as installer
from appliance_images import slots
from appliance_images.disks import Disk, disks, named
from appliance_images.tools import Progress, Say

COPY, KEEP, NONE = "copy", "keep", "none"


def install(disk: str, config: str | None, *, is_sure: bool, say: Say) -> dict[str, Any]:
    """Install on the disk of this name.

    Args:
        disk: Its name.
        config: What becomes of configurations; `None`: keep the one on the disk, else copy that of this system.
        is_sure: Nobody is asked.
        say: Told what is being done.

    Raises:
        ApplianceError: It cannot be done, was not done, or nobody wanted it.
    """
    machine = slots.this_machine()
    target = named(disk, disks(machine.stem))
    source = installer.source_of(machine, machine.disk)
    how = plan(config, is_there=installer.same_layout(source, target.device))
    if not is_sure:
        if not sys.stdin.isatty():
            raise UsageError("nobody is here to be asked", hint="Say --yes when everything on the disk may be lost.")
        agree(Terminal(sys.stdin, sys.stderr), target, how)
    progress = Progress(say)
    folder = installer.CONFIG_FOLDER if how == COPY else None
    digest = installer.install(source, target, keep=how == KEEP, config=folder, say=progress)
    progress("done; it starts from this disk when the stick is taken out")
    return {"disk": target.name, "config": how, "sha256": digest, "seconds": round(progress.elapsed_s, 1)}


def plan(config: str | None, *, is_there: bool) -> str:
    """What becomes of the configurations.

    Raises:
        UsageError: There is none that could be kept.
    """
    if config == KEEP and not is_there:
        raise UsageError("there is no configuration on that disk to keep", hint="Say --config copy, or --config none.")
    return config or (KEEP if is_there else COPY)


def agree(asker: Asker, target: Disk, how: str) -> None:
    """Show what is lost, and go on only when somebody types the name of the disk.

    Raises:
        UsageError: Somebody typed something else.
    """
    lost = {KEEP: "Its configuration stays, everything else on it is lost."}.get(how, "Everything on it is lost.")
    then = {COPY: " It gets the configuration and the keys of this system.", NONE: " It gets no configuration."}
    asker.say(f"{target.name}: {target.model or 'disk'}, {target.size // installer.MIB} MiB, {target.content}.")
    asker.say(lost + then.get(how, ""))
    if asker.ask(Question(key="disk", prompt=f"Type {target.name} to go on", parse=str, default="")) != target.name:
        raise UsageError("nothing was installed", hint=f"The disk {target.name} is as it was.")
