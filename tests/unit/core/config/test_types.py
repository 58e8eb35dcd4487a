"""Field types take what an operator may write, and nothing that only resembles it."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Address, ip_address, ip_interface, ip_network

import pytest
from pydantic import TypeAdapter, ValidationError

from appliance.config import Model
from appliance.config.types import (
    Cidr,
    DeviceName,
    InterfaceName,
    Ip,
    Ipv4,
    Ipv4Cidr,
    Ipv6,
    Ipv6Cidr,
    Mtu,
    Network,
    Port,
    Seconds,
    Secret,
    Vhid,
    VlanId,
)


class Everything(Model):
    ip: Ip | None = None
    ipv4: Ipv4 | None = None
    ipv6: Ipv6 | None = None
    cidr: Cidr | None = None
    ipv4_cidr: Ipv4Cidr | None = None
    ipv6_cidr: Ipv6Cidr | None = None
    network: Network | None = None
    device: DeviceName = "eth0"
    interface: InterfaceName = "lan"
    vhid: Vhid = 1
    port: Port = 1
    mtu: Mtu = 1500
    vlan: VlanId = 1
    seconds: Seconds = 1.0
    secret: Secret | None = None


GOOD: list[tuple[str, object, object]] = [
    ("ip", "192.168.1.1", ip_address("192.168.1.1")),
    ("ip", "2001:db8::1", ip_address("2001:db8::1")),
    ("ip", IPv6Address("::1"), IPv6Address("::1")),
    ("ipv4", "192.168.1.1", ip_address("192.168.1.1")),
    ("ipv6", "::1", ip_address("::1")),
    ("cidr", "192.168.1.1/24", ip_interface("192.168.1.1/24")),
    ("cidr", "2001:db8::1/64", ip_interface("2001:db8::1/64")),
    ("cidr", IPv4Interface("10.0.0.1/8"), IPv4Interface("10.0.0.1/8")),
    ("ipv4_cidr", "10.0.0.1/8", ip_interface("10.0.0.1/8")),
    ("ipv6_cidr", "::1/128", ip_interface("::1/128")),
    ("network", "10.0.0.0/8", ip_network("10.0.0.0/8")),
    ("device", "enp3s0.100", "enp3s0.100"),
    ("interface", "wan_2", "wan_2"),
    ("vhid", 255, 255),
    ("port", 65535, 65535),
    ("mtu", 9000, 9000),
    ("vlan", 4094, 4094),
    ("seconds", 3, 3.0),
    ("seconds", 0.1, 0.1),
]


@pytest.mark.parametrize(("field", "value", "expected"), GOOD)
def test_right_values_become_what_they_mean(field: str, value: object, expected: object) -> None:
    assert getattr(Everything.model_validate({field: value}), field) == expected


BAD: list[tuple[str, object]] = [
    ("ip", 5),  # ipaddress would take it for 0.0.0.5
    ("ip", b"\x7f\x00\x00\x01"),
    ("ip", "192.168.1"),
    ("ip", "192.168.1.1/24"),
    ("ipv4", "::1"),
    ("ipv6", "10.0.0.1"),
    ("cidr", "192.168.1.1"),
    ("cidr", 5),
    ("cidr", "192.168.1.1/33"),
    ("ipv4_cidr", "::1/64"),
    ("ipv6_cidr", "10.0.0.1"),
    ("network", "10.0.0.1/8"),
    ("device", "a-name-of-16-chr"),
    ("device", "eth 0"),
    ("device", ""),
    ("interface", "LAN"),
    ("interface", "1lan"),
    ("vhid", 0),
    ("vhid", 256),
    ("vhid", "5"),
    ("vhid", True),
    ("port", 0),
    ("mtu", 575),
    ("vlan", 4095),
    ("seconds", 0),
    ("seconds", "1"),
    ("secret", 5),
]


@pytest.mark.parametrize(("field", "value"), BAD)
def test_wrong_values_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        Everything.model_validate({field: value})


def test_an_address_without_prefix_length_is_told_what_to_write() -> None:
    with pytest.raises(ValidationError, match=r"such as 10\.0\.0\.1/24"):
        TypeAdapter(Cidr).validate_python("10.0.0.1")


def test_a_secret_shows_nowhere() -> None:
    table = Everything.model_validate({"secret": "hunter2"})
    assert "hunter2" not in repr(table)
    assert "hunter2" not in str(table.model_dump(mode="json"))
    assert table.secret is not None
    assert table.secret.get_secret_value() == "hunter2"
