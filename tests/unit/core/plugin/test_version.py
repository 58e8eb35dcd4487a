"""Which plugins fit which host."""

from __future__ import annotations

import pytest

from appliance.plugin import API
from appliance.plugin.version import ApiVersion


@pytest.mark.parametrize(
    ("wanted", "fits"), [((1, 0), True), ((1, 2), True), ((1, 3), False), ((0, 9), False), ((2, 0), False)]
)
def test_the_same_major_and_a_minor_not_newer_fit(wanted: tuple[int, int], fits: bool) -> None:
    assert ApiVersion(1, 2).accepts(wanted) is fits


def test_the_host_accepts_its_own_version() -> None:
    assert API.accepts(API)
