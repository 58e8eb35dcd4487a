"""Port forwards: what their words come to."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from appliance_outbound_nat.config import OutboundNatConfig
from appliance_outbound_nat.forwards import Forward, forwards, parse_destination, parse_target, reflected
from appliance_outbound_nat.scene import scene_of
from appliance_outbound_nat.selectors import BadValueError
from tests.unit.plugins.outbound_nat.fakes import config, scene

WEB = """
[[port_forward]]
interface = "wan"
destination = "vip:wan"
port = 8080
target = "192.168.1.10"
target_port = 80
"""


def made(toml: str, **cluster: Any) -> tuple[Forward, ...]:
    found = config(toml, **cluster)
    return forwards(found[OutboundNatConfig], scene_of(found))


def test_one_port_leads_to_another() -> None:
    (forward,) = made(WEB)
    assert (forward.external, forward.first, forward.last) == (ip_address("198.51.100.200"), 8080, 8080)
    assert (forward.target, forward.shift) == (ip_address("192.168.1.10"), -8000)
    assert (forward.passes, forward.reflected) == (True, False)


def test_without_a_target_port_the_port_stays() -> None:
    assert made(WEB.replace("target_port = 80", ""))[0].shift == 0


def test_both_protocols_are_two_forwards_with_one_counter() -> None:
    tcp, udp = made(WEB + 'protocol = "tcp/udp"\n')
    assert (tcp.protocol, udp.protocol) == ("tcp", "udp")
    assert tcp.counter == udp.counter


def test_the_virtual_host_s_address_of_the_target_s_family_is_outside() -> None:
    (forward,) = made(WEB.replace("192.168.1.10", "2001:db8:1::10"))
    assert (forward.version, forward.external) == (6, ip_address("2001:db8:ffff::200"))


def test_the_node_s_own_address_and_one_that_only_the_kernel_knows() -> None:
    own = WEB.replace("vip:wan", "address")
    assert made(own)[0].external == ip_address("198.51.100.201")
    assert made(own, interfaces={"wan": []}, vips={})[0].external is None


def test_an_alias_with_one_address_is_a_target() -> None:
    assert parse_target("web", scene()) == ip_address("192.168.1.10")
    assert parse_target("one", scene(names={"one": ["10.0.0.1-10.0.0.1"]})) == ip_address("10.0.0.1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mail", "alias 'mail' holds 2 addresses or networks"),
        ("empty", "alias 'empty' holds 0 addresses"),
        ("web_ports", "alias 'web_ports' holds ports"),
        ("192.168.1.0/24", "is more than one address"),
        ("nobody", "neither an address"),
    ],
)
def test_a_target_that_is_not_one_address_is_refused(text: str, message: str) -> None:
    with pytest.raises(BadValueError) as refused:
        parse_target(text, scene())
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("text", "version", "message"),
    [
        ("vip:x", 4, "there is no virtual host 'x'"),
        ("vip:four", 6, "virtual host 'four' has no IPv6 address, and the target is IPv6"),
        ("198.51.100.0/24", 4, 'write one address, "vip:NAME" or "address"'),
        ("198.51.100.9", 6, "198.51.100.9 is IPv4, and the target is IPv6"),
        ("address", 6, "wan has no IPv6 address of its own, and the target is IPv6"),
    ],
)
def test_a_destination_that_cannot_be_forwarded_is_refused(text: str, version: int, message: str) -> None:
    around = scene(interfaces={"wan": ["198.51.100.201/24"]}, vips={"four": ["wan", "198.51.100.200/24"]})
    with pytest.raises(BadValueError) as refused:
        parse_destination(text, "wan", version, around)
    assert message in str(refused.value)


def test_what_clients_inside_may_use() -> None:
    assert reflected(made(WEB)) == []
    (one,) = reflected(made("reflection = true\n" + WEB))
    assert (str(one.external), str(one.target)) == ("198.51.100.200/32", "192.168.1.10/32")
    assert reflected(made("reflection = true\n" + WEB + "reflection = false\n")) == []


def test_what_is_disabled_is_not_there() -> None:
    assert made(WEB + "disabled = true\n") == ()
