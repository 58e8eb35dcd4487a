"""What the plugin contributes, as the host asks for it."""

from __future__ import annotations

from appliance.plugin import Hook
from appliance.testing import LogicalInterfaces, check_plugin
from appliance_outbound_nat.plugin import OutboundNat
from tests.unit.plugins.outbound_nat.fakes import Cluster, config

FORWARD = {"interface": "wan", "destination": "vip:wan", "port": 80, "target": "192.168.1.10"}


def test_it_is_a_good_citizen() -> None:
    check_plugin(OutboundNat, config={}, tables={"interfaces": LogicalInterfaces.of(wan="198.51.100.201/24")})
    check_plugin(OutboundNat, config={"port_forward": [FORWARD]}, tables={"interfaces": Cluster()})


def test_it_contributes_to_the_ruleset() -> None:
    made = OutboundNat().appliance_ruleset(config(""))
    assert {each.hook for each in made.hooked} == {Hook.TRANSLATE_IN, Hook.TRANSLATE_OUT}


def test_an_image_needs_nftables() -> None:
    part = OutboundNat().appliance_image()
    assert "nftables" in part.packages
    assert "nft_nat" in part.kernel_modules
