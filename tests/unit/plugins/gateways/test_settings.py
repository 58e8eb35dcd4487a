"""Looking things up in the service's settings."""

from __future__ import annotations

from ipaddress import ip_address

from appliance_gateways.config import settings_of
from tests.unit.plugins.gateways.samples import config_of


def test_gateways_and_groups_are_found_by_name_and_family() -> None:
    made = settings_of(config_of())
    wan, group = made.gateway("wan_gw"), made.group("balanced")
    assert wan is not None
    assert group is not None
    assert (wan.address(4), wan.address(6)) == (ip_address("198.51.100.1"), None)
    assert (made.gateway("balanced"), made.group("wan_gw")) == (None, None)
    assert group.map_name == "gw_group_balanced"
