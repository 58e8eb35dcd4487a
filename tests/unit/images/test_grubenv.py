"""Which slot boots: the story of an upgrade, and blocks that make no sense."""

from __future__ import annotations

import pytest

from appliance_images import grubenv
from appliance_images.grubenv import BootState


def booted(state: BootState) -> tuple[str, BootState]:
    """What the boot loader does: see boot/grub.cfg."""
    slot = state.next_slot
    return slot, state.with_left(slot, max(state.boots_left(slot) - 1, 0))


def test_a_new_disk_boots_slot_a() -> None:
    assert BootState().next_slot == "a"


def test_a_new_system_that_is_healthy_stays() -> None:
    slot, state = booted(BootState().blocked("b").on_trial("b"))
    assert slot == "b"
    state = state.good("b")
    for _ in range(2):
        slot, state = booted(state)
        assert slot == "b"


def test_a_new_system_that_is_never_healthy_gives_way() -> None:
    state, seen = BootState().on_trial("b"), []
    for _ in range(4):
        slot, state = booted(state)
        seen.append(slot)
    assert seen == ["b", "b", "a", "a"]


def test_a_slot_that_is_being_written_never_boots() -> None:
    state = BootState(order="ba", left=(3, 3)).blocked("b")
    assert [booted(state)[0] for _ in range(3)] == ["a", "a", "a"]
    assert state.boots_left("b") == 0


def test_without_boots_left_the_first_one_still_boots() -> None:
    assert BootState(order="ba", left=(0, 0)).next_slot == "b"


@pytest.mark.parametrize("state", [BootState(), BootState(order="ba", left=(0, 2))])
def test_blocks_are_read_back_and_have_their_size(state: BootState) -> None:
    block = grubenv.format_block(state)
    assert len(block) == grubenv.SIZE
    assert grubenv.parse(block) == state


@pytest.mark.parametrize(
    "block", [b"", bytes(1024), b"# GRUB Environment Block\norder=xx\na_left=-1\nb_left=many\n", b"\xff" * 1024]
)
def test_a_damaged_block_means_the_defaults(block: bytes) -> None:
    assert grubenv.parse(block) == BootState()


def test_more_boots_than_there_are_do_not_count() -> None:
    assert grubenv.parse(grubenv.format_block(BootState(left=(99, 0)))).left == (3, 0)
