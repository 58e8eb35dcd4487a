"""One test per rule: what is refused, with which message and where."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.config import Model
from appliance_dhcp_failover.verify import verify
from tests.unit.plugins.dhcp_failover.samples import EXAMPLE, Network, config_of, lan


def problems(values: Any, network: Model | None = None) -> list[tuple[str, str, str]]:
    """``(path, message, severity)`` of everything that is wrong; paths below the interface."""
    found = verify(config_of(values, network))
    return [
        (".".join(map(str, each.path[1:])).removeprefix("interface.lan."), each.message, each.severity)
        for each in found
    ]


def one(values: Any, network: Model | None = None) -> tuple[str, str, str]:
    (found,) = problems(values, network)
    return found


def test_a_good_configuration_has_no_problems() -> None:
    assert problems(EXAMPLE) == []
    assert problems({}) == []
    assert problems({"interface": {"guest": {"range": ["192.168.9.10-192.168.9.20"]}}}) == []


def test_the_interface_exists_and_has_an_address() -> None:
    assert one({"interface": {"dmz": {}}}) == (
        "interface.dmz", "there is no interface 'dmz'; [interfaces] has bare, guest, lan, sync", "error",
    )  # fmt: skip
    assert one({"interface": {"bare": {"range": ["10.0.0.1-10.0.0.9"]}}})[1].startswith("bare has no IPv4 address")


RANGES = [
    (["10.0.0.1-10.0.0.9"], "range.0", "the range 10.0.0.1-10.0.0.9 is not in 192.168.1.0/24, the network of lan"),
    (["192.168.1.100-192.168.2.9"], "range.0", "is not in 192.168.1.0/24"),
    (["192.168.1.200-192.168.1.255"], "range.0", "has the broadcast address 192.168.1.255"),
    (["192.168.1.1-192.168.1.1"], "range.0", "has 192.168.1.1 in it, which is a virtual address of lan"),
    (["192.168.1.2-192.168.1.2"], "range.0", "has 192.168.1.2 in it, which is this node's own address"),
    (["192.168.1.3-192.168.1.9"], "range.0", "has 192.168.1.3 in it, which is the other node's address"),
    (
        ["192.168.1.10-192.168.1.20", "192.168.1.20-192.168.1.30"],
        "range.1",
        "the range 192.168.1.20-192.168.1.30 overlaps 192.168.1.10-192.168.1.20",
    ),
]


@pytest.mark.parametrize(("ranges", "path", "message"), RANGES)
def test_ranges_are_in_the_subnet_apart_from_each_other_and_from_addresses_in_use(
    ranges: list[str], path: str, message: str
) -> None:
    found = one(lan(range=ranges))
    assert found[0] == path
    assert message in found[1]


def test_a_pool_fits_into_memory() -> None:
    network = Network(addresses={"lan": ["10.0.0.2/8"], "sync": ["172.16.1.2/24"]}, virtual={"lan": ["10.0.0.1/8"]})
    found = one(lan(range=["10.1.0.0-10.2.0.0"], failover_peer="10.0.0.3"), network)
    assert found == ("range", "65537 addresses are too many: at most 65536 are served", "error")


STATIC = [
    ([{"address": "10.0.0.5"}], "static.0.address", "10.0.0.5 is not in 192.168.1.0/24"),
    ([{"address": "192.168.1.0"}], "static.0.address", "network or broadcast address"),
    ([{"address": "192.168.1.1"}], "static.0.address", "192.168.1.1 is a virtual address of lan"),
    ([{"address": "192.168.1.3"}], "static.0.address", "192.168.1.3 is the other node's address"),
    ([{"address": "192.168.1.150"}], "static.0.address", "192.168.1.150 is in the range"),
    (
        [{"address": "192.168.1.20"}, {"address": "192.168.1.20", "mac": "02:00:00:00:00:02"}],
        "static.1.address",
        "two static mappings have the address 192.168.1.20",
    ),
    (
        [{"address": "192.168.1.20"}, {"address": "192.168.1.21"}],
        "static.1.mac",
        "two static mappings have the mac 02:00:00:00:00:01",
    ),
]


@pytest.mark.parametrize(("static", "path", "message"), STATIC)
def test_static_mappings_are_one_client_and_one_free_address_each(
    static: list[dict[str, str]], path: str, message: str
) -> None:
    found = one(lan(static=[{"mac": "02:00:00:00:00:01", **each} for each in static]))
    assert found[0] == path
    assert message in found[1]


def test_the_peer_is_the_other_nodes_own_address_in_the_subnet() -> None:
    assert one(lan(failover_peer="10.0.0.3"))[1] == (
        "the failover peer 10.0.0.3 is not in 192.168.1.0/24, the network of lan"
    )
    assert "is this node's own address; it has to be the other" in one(lan(failover_peer="192.168.1.2"))[1]
    assert "is a virtual address of lan; it has to be the other" in one(lan(failover_peer="192.168.1.1"))[1]


def test_a_peer_needs_a_virtual_address_a_sync_interface_and_a_pairing() -> None:
    assert "no virtual IPv4 address" in one(EXAMPLE, Network(virtual={}))[1]
    assert "needs the interface between the nodes" in one({"interface": EXAMPLE["interface"]})[1]
    assert "paired nodes only" in one(EXAMPLE, Network(paired=False))[1]
    assert one({**EXAMPLE, "sync_interface": "cable"})[:2] == (
        "sync_interface", "there is no interface 'cable'; [interfaces] has bare, guest, lan, sync",
    )  # fmt: skip


def test_a_virtual_address_has_a_network() -> None:
    network = Network(virtual={"lan": ["192.168.1.1/32"]})
    assert "has no network; give it the prefix of lan" in problems(EXAMPLE, network)[0][1]


def test_a_virtual_address_without_a_peer_is_warned_about() -> None:
    path, message, severity = one({"interface": {"lan": {"range": ["192.168.1.100-192.168.1.199"]}}})
    assert (path, severity) == ("interface.lan", "warning")
    assert "the other node knows no leases" in message


def test_a_gateway_that_goes_with_its_node_is_warned_about() -> None:
    for values in ({"gateway": "192.168.1.2"}, {"gateway": "192.168.1.3"}, {"dns": ["192.168.1.2"]}):
        _, message, severity = one(lan(**values))
        assert severity == "warning"
        assert "after a takeover it is gone" in message
    assert (
        one(lan(gateway="10.0.0.1"))[1] == "the gateway 10.0.0.1 is not in 192.168.1.0/24, so clients cannot reach it"
    )


def test_times_and_options_make_sense() -> None:
    assert one(lan(lease_time=600, max_lease_time=300))[0] == "max_lease_time"
    assert one(lan(options=[{"code": 3, "value": "x"}]))[1] == "option 3 has a field of its own: gateway"
    twice = [{"code": 150, "value": "x"}, {"code": 150, "value": "y"}]
    assert one(lan(options=twice))[:2] == ("options.1.code", "option 150 is set twice")


def test_somebody_gets_something() -> None:
    assert one(lan(range=None))[1] == "lan has nothing to give: set range or static"
    assert one(lan(deny_unknown=True))[1] == "with deny_unknown and without static nobody gets an address"
