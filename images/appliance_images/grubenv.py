"""Which system slot boots next: the variables that the boot loader keeps, and what changes them.

Two slots, ``a`` and ``b``. `order` says which one is tried first, ``X_left`` how many boots a slot has left. The loader
takes the first slot of the order that has boots left and takes one off; a system that proves healthy gives itself
all of them back. A system that never proves healthy thus runs out, and the other one boots.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

SIZE = 1024
"""GRUB writes exactly this block in place: it knows where the block is, not how to make a file."""
HEAD = "# GRUB Environment Block\n"
SLOTS = ("a", "b")
TRIAL_BOOTS = 2
"""Boots of a new system until it has to be healthy: one may be cut short by a power failure."""
GOOD_BOOTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class BootState:
    """What the boot loader goes by."""

    order: str = "ab"
    left: tuple[int, int] = (GOOD_BOOTS, 0)
    """Boots left of slot a and slot b."""

    def boots_left(self, slot: str) -> int:
        """Of this slot."""
        return self.left[SLOTS.index(slot)]

    @property
    def next_slot(self) -> str:
        """The slot that the loader will take; the first of the order when no slot has boots left."""
        return next((slot for slot in self.order if self.boots_left(slot) > 0), self.order[0])

    def with_left(self, slot: str, boots: int) -> BootState:
        """The same with another count."""
        left = (boots, self.left[1]) if slot == "a" else (self.left[0], boots)
        return replace(self, left=left)

    def first(self, slot: str) -> BootState:
        """This slot is tried first from now on."""
        return replace(self, order=slot + other(slot))

    def blocked(self, slot: str) -> BootState:
        """This slot is not to boot: it is about to be overwritten."""
        return self.with_left(slot, 0).first(other(slot))

    def on_trial(self, slot: str) -> BootState:
        """This slot boots next, and has to prove itself."""
        return self.with_left(slot, TRIAL_BOOTS).first(slot)

    def good(self, slot: str) -> BootState:
        """This slot runs and is healthy: it stays."""
        return self.with_left(slot, GOOD_BOOTS).first(slot)


def other(slot: str) -> str:
    """The slot that is not this one."""
    return SLOTS[1 - SLOTS.index(slot)]


def parse(block: bytes) -> BootState:
    """What a block says; defaults for whatever it does not say, because a damaged block must not stop a boot."""
    text = block.decode("ascii", errors="replace")
    lines = text.removeprefix(HEAD).splitlines() if text.startswith(HEAD) else []
    values = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    order = values.get("order", "")
    state = BootState()
    return BootState(
        order=order if order in ("ab", "ba") else state.order,
        left=(_count(values, "a_left", state.left[0]), _count(values, "b_left", state.left[1])),
    )


def format_block(state: BootState) -> bytes:
    """The block for GRUB."""
    lines = [f"order={state.order}", f"a_left={state.left[0]}", f"b_left={state.left[1]}"]
    return (HEAD + "\n".join(lines) + "\n").encode().ljust(SIZE, b"#")


def _count(values: Mapping[str, str], key: str, default: int) -> int:
    text = values.get(key, "")
    return min(int(text), GOOD_BOOTS) if text.isdecimal() and text.isascii() else default
