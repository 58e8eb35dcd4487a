"""What of the translation travels to the other nodes."""

from __future__ import annotations

from appliance_outbound_nat.config import OutboundNatConfig
from appliance_outbound_nat.plugin import OutboundNat


def test_outbound_rules_pairs_and_forwards_are_sections_of_their_own() -> None:
    sections = {each.name: each.keys for each in OutboundNat().appliance_sync_sections()}
    assert list(sections) == ["outbound NAT", "one-to-one NAT", "port forwards"]
    assert ("outbound_nat", "rule") in sections["outbound NAT"]
    assert ("outbound_nat", "mode") in sections["outbound NAT"]
    assert sections["one-to-one NAT"] == (("outbound_nat", "one_to_one"),)
    assert sections["port forwards"] == (("outbound_nat", "port_forward"),)


def test_every_key_of_the_table_is_in_one_section() -> None:
    keys = [key for each in OutboundNat().appliance_sync_sections() for key in each.keys]
    assert sorted(keys) == sorted(("outbound_nat", name) for name in OutboundNatConfig.model_fields)
