"""The kernel's word on its clock."""

from __future__ import annotations

import struct

import pytest

from appliance.net.clock import STA_UNSYNC, Clock, parse, read

STA_PLL = 0x0001


@pytest.mark.parametrize(
    ("status", "synchronized"), [(STA_PLL, True), (STA_UNSYNC, False), (STA_PLL | STA_UNSYNC, False)]
)
def test_it_is_kept_unless_the_kernel_says_that_it_is_not(status: int, synchronized: bool) -> None:
    # modes, offset, freq, maxerror, esterror, status: adjtimex(2)
    timex = struct.pack("Illlli", 0, 7, -3, 12_500, 900, status).ljust(256, b"\0")
    assert parse(timex, own=True) == Clock(synchronized=synchronized, max_error_s=0.0125, own=True)


def test_the_kernel_of_this_machine_answers() -> None:
    seen = read()
    assert seen is not None
    assert 0 <= seen.max_error_s <= 16, "the kernel counts no further"
