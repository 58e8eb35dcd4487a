"""This node in an upgrade: what it says of itself, and what is done to it. Blocking; for threads."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from appliance.errors import ApplianceError
from appliance_images import bundle, grubenv, slots
from appliance_images.cluster.record import Report
from appliance_images.health import down, without_role
from appliance_images.slots import Machine
from appliance_images.tools import run

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
Ask = Callable[[list[str]], object]
"""Data that the node answers to a command."""


class Local:
    """One machine.

    Args:
        machine: Its slots.
        ask: How its node is asked.
        boot_id: A file that says something else after every start.
        reboot: Starts it again.
    """

    def __init__(
        self, machine: Machine, ask: Ask, *, boot_id: Path = BOOT_ID, reboot: Callable[[], None] | None = None
    ) -> None:
        self._machine, self._ask, self._boot_id = machine, ask, boot_id
        self._reboot = reboot or _reboot
        self._incoming: tuple[ExitStack, slots.Writer] | None = None

    def report(self) -> Report:
        """How it is.

        Raises:
            ApplianceError: Its node or its disk does not answer.
        """
        ha: Any = self._ask(["show", "ha"])
        state, slot = self._machine.boot_state(), self._machine.slot
        unseen = [f"{peer['peer']} is not seen" for peer in ha["peers"] if not peer["alive"]]
        demoted = [f"demoted by {reason['name']}" for reason in ha["reasons"]]
        return Report(
            node=ha["node"],
            version=slots.running_version(),
            slot=slot,
            is_good=state.next_slot == slot and state.boots_left(slot) == grubenv.GOOD_BOOTS,
            boot=self._boot_id.read_text().strip(),
            role=ha["role"],
            problems=(*down(self._ask(["show", "services"])), *without_role(ha), *demoted, *unseen),
        )

    def examine(self, manifest: bytes, signature: bytes) -> bundle.About:
        """What this machine thinks of an upgrade.

        Raises:
            ApplianceError: It does not trust who signed it, or it is none.
        """
        try:
            return bundle.verified(manifest, signature, slots.trusted(self._machine))
        except (ValueError, KeyError, TypeError) as error:
            raise ApplianceError(f"it is no upgrade: {error}", hint="Build it with `appliance image build`.") from error

    def add(self, file: Path) -> str:
        """Write an upgrade into the other slot; its version."""
        self.close()
        return str(slots.add(self._machine, file)["version"])

    def offer(self, manifest: bytes, signature: bytes) -> None:
        """An upgrade is about to come; what came before is forgotten."""
        about = self.examine(manifest, signature)
        self.close()
        stack = ExitStack()
        self._incoming = stack, stack.enter_context(slots.Writer(self._machine, about))

    def take(self, offset: int, piece: bytes) -> None:
        """The next piece of it."""
        writer = self._writer()
        if offset != writer.at:
            raise ApplianceError(
                f"a piece at {offset} has come, and {writer.at} is next", hint="Send it again from the beginning."
            )
        writer.write(piece)

    def finish(self) -> None:
        """All of it has come: it boots next."""
        self._writer().finish()
        self.close()

    def close(self) -> None:
        """What has come so far is no system."""
        if self._incoming is not None:
            self._incoming[0].close()
            self._incoming = None

    def restart(self) -> None:
        """Start again, with the slot that is next."""
        self._reboot()

    def keep(self, slot: str) -> bool:
        """This slot boots next; whether another one runs."""
        slots.choose(self._machine, slot)
        return slot != self._machine.slot

    def _writer(self) -> slots.Writer:
        if self._incoming is None:
            raise ApplianceError("no upgrade is under way here", hint="Send it from the beginning.")
        return self._incoming[1]


def _reboot() -> None:
    # Without logind systemctl complains, and starts the machine again all the same; whoever asked sees whether it did.
    with suppress(ApplianceError):
        run("systemctl", "reboot")
