"""Rules are sentences in the words of the configuration."""

from __future__ import annotations

from typing import Any

from appliance_firewall.config import RuleTable
from appliance_firewall.sentence import rule_text
from tests.unit.plugins.firewall.paper import rule


def sentence(**values: Any) -> str:
    return rule_text(RuleTable.model_validate(rule(**values)))


def test_rules_are_sentences_in_the_words_of_the_configuration() -> None:
    assert sentence() == "pass in on lan from any to any"
    assert sentence(protocol="tcp", source="net:lan", destination_port=443) == (
        "pass in on lan tcp from net:lan to any port 443"
    )
    everything = sentence(
        interface=["lan", "dmz"],
        action="reject",
        direction="out",
        family="ipv4",
        protocol="udp",
        source=["a", "b"],
        source_port="1-2",
        destination="!c",
        destination_port=[53, 54],
        gateway="wan_gw",
        schedule="office",
        log=True,
    )
    assert everything == (
        "reject out on lan, dmz ipv4 udp from a, b port 1-2 to !c port 53, 54 by gateway wan_gw during office log"
    )
    assert sentence(protocol="icmp", icmp_types=["redirect"]) == "pass in on lan icmp redirect from any to any"
