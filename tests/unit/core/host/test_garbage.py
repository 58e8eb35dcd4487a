"""The collector rests while a configuration is made, and works again afterwards whatever happened."""

from __future__ import annotations

import gc

import pytest

from appliance.host.garbage import LARGE, uncollected


def test_it_is_back_after_an_error() -> None:
    def fails() -> None:
        with uncollected():
            assert not gc.isenabled()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert gc.isenabled()


def test_blocks_may_overlap() -> None:
    one, other = uncollected(), uncollected()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    other.__exit__(None, None, None)
    assert gc.isenabled()


def test_who_has_switched_it_off_keeps_it_off() -> None:
    gc.disable()
    try:
        with uncollected():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_a_large_block_makes_is_left_alone_later() -> None:
    before = gc.get_freeze_count()
    try:
        with uncollected():
            few = [[number] for number in range(10)]
        assert gc.get_freeze_count() == before
        with uncollected():
            many = [[number] for number in range(LARGE + 1)]
        assert gc.get_freeze_count() > before + LARGE
        assert len(few) < len(many)
    finally:
        gc.unfreeze()
