"""Names of the devices that carry virtual MACs."""

from __future__ import annotations

import pytest

from appliance.net.virtualmac import DEVICE_NAME_MAX, virtual_device


@pytest.mark.parametrize(
    ("parent", "vhid", "name"),
    [("lan0", 1, "lan0.v1"), ("enp1s0f0", 200, "enp1s0f0.v200"), ("enp101s0f1np", 200, "31541b5f.v200")],
)
def test_a_device_name_is_readable_where_it_fits_and_never_too_long(parent: str, vhid: int, name: str) -> None:
    assert virtual_device(parent, vhid) == name
    assert len(name) <= DEVICE_NAME_MAX


def test_long_parents_are_told_apart() -> None:
    assert virtual_device("enp101s0f1np0", 200) != virtual_device("enp101s0f1np1", 200)
