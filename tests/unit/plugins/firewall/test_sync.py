"""What of the firewall travels to the other nodes."""

from __future__ import annotations

from appliance_firewall.config import FirewallConfig
from appliance_firewall.plugin import Firewall


def test_rules_aliases_schedules_and_settings_are_sections_of_their_own() -> None:
    sections = {each.name: each.keys for each in Firewall().appliance_sync_sections()}
    assert list(sections) == ["firewall rules", "aliases", "schedules", "firewall settings"]
    assert sections["firewall rules"] == (("firewall", "rule"),)
    assert sections["aliases"] == (("firewall", "alias"),)
    assert sections["schedules"] == (("firewall", "schedule"),)


def test_every_key_of_the_table_is_in_one_section() -> None:
    keys = [key for each in Firewall().appliance_sync_sections() for key in each.keys]
    assert sorted(keys) == sorted(("firewall", name) for name in FirewallConfig.model_fields)
