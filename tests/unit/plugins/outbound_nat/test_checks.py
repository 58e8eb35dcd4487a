"""What the doctor finds, each with its remedy."""

from __future__ import annotations

from typing import Any, cast

import pytest
import trio

from appliance.events import Health
from appliance.plugin import Finding, Probe
from appliance_outbound_nat.checks import checks
from tests.unit.plugins.outbound_nat.fakes import MULTI_WAN, config

LAN = '[[rule]]\ninterface = "wan"\nsource = "192.168.1.0/24"\ntranslation = "vip:wan"\n'
ISAKMP = LAN + 'protocol = "udp"\ndestination_port = 500\n'


def found(name: str, toml: str, **cluster: Any) -> Finding:
    (check,) = [each for each in checks(config(toml, **cluster)) if each.name == name]
    return trio.run(check.run, cast(Probe, None))


def test_the_names_are_unique_and_every_check_says_what_it_looks_at() -> None:
    made = checks(config(""))
    assert [each.name for each in made] == ["nat-networks", "nat-vip", "nat-forwards"]
    assert all(each.help.endswith(".") for each in made)


@pytest.mark.parametrize("name", ["nat-networks", "nat-vip", "nat-forwards"])
def test_the_example_cluster_is_well(name: str) -> None:
    for toml in ("", f'mode = "manual"\n{LAN}', 'mode = "disabled"'):
        assert found(name, toml).health is Health.OK


def test_a_network_added_after_the_rules_were_written_is_told_for_each_wan() -> None:
    finding = found("nat-networks", f'mode = "manual"\n{LAN}', **MULTI_WAN)
    assert finding.health is Health.WARN
    assert finding.what == (
        "manual outbound NAT has no rule for dmz 192.168.2.0/24 on wan; lan 192.168.1.0/24 on wan2; "
        "dmz 192.168.2.0/24 on wan2"
    )
    assert "[[outbound_nat.rule]]" in finding.fix


@pytest.mark.parametrize(
    ("rules", "health"),
    [
        (LAN, Health.OK),
        (LAN.replace("192.168.1.0/24", "any"), Health.OK),
        (LAN.replace("192.168.1.0/24", "net:lan"), Health.OK),
        (LAN.replace("192.168.1.0/24", "private"), Health.OK),
        (LAN.replace("vip:wan", "none"), Health.OK),
        (LAN.replace("192.168.1.0/24", "192.168.1.10"), Health.WARN),
        (LAN + "disabled = true\n", Health.WARN),
        (ISAKMP, Health.WARN),
        ("", Health.WARN),
    ],
)
def test_what_counts_as_a_rule_for_a_network(rules: str, health: Health) -> None:
    names = {"private": ["192.168.0.0/16"]}
    assert found("nat-networks", f'mode = "manual"\n{rules}', names=names).health is health


def test_public_networks_need_no_translation() -> None:
    public = {"wan": ["198.51.100.201/24"], "lan": ["203.0.113.129/25", "2001:db8:1::2/64"]}
    assert found("nat-networks", 'mode = "manual"', interfaces=public, vips={}).health is Health.OK


@pytest.mark.parametrize("mode", ["automatic", "hybrid"])
def test_without_a_wan_nothing_is_automatic(mode: str) -> None:
    finding = found("nat-networks", f'mode = "{mode}"', routers={})
    assert (finding.health, finding.what) == (
        Health.WARN,
        "no interface has a gateway, so nothing is translated automatically",
    )
    assert "default route" in finding.fix


@pytest.mark.parametrize("translation", ["interface", "198.51.100.201"])
@pytest.mark.parametrize("mode", ["hybrid", "manual"])
def test_translation_to_the_node_although_there_is_a_virtual_host_is_told(mode: str, translation: str) -> None:
    finding = found("nat-vip", f'mode = "{mode}"\n{LAN.replace("vip:wan", translation)}')
    assert finding.health is Health.WARN
    assert "rule 1 (192.168.1.0/24 on wan, vip:wan)" in finding.what
    assert finding.why == "connections through it end at a takeover"


def test_without_a_virtual_host_the_node_is_all_there_is() -> None:
    assert found("nat-vip", "", vips={}).health is Health.OK
    assert found("nat-vip", f'mode = "manual"\n{LAN.replace("vip:wan", "203.0.113.9")}').health is Health.OK


def test_forwards_from_the_node_s_own_address_are_told() -> None:
    toml = '[[port_forward]]\ninterface = "wan"\ndestination = "address"\nport = 8080\ntarget = "192.168.1.10"\n'
    finding = found("nat-forwards", toml)
    assert (finding.health, finding.what) == (
        Health.WARN,
        "port forwards from this node's own address: port 8080 of 198.51.100.201",
    )
    assert "vip:NAME" in finding.fix
    assert "port 8080 of wan" in found("nat-forwards", toml, interfaces={"wan": []}, vips={}).what
