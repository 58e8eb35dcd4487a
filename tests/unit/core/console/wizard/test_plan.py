"""The address plan is the handbook's, and where that does not fit the next best."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface

import pytest

from appliance.console.wizard.answers import Address, Answers, Kind, NetworkAnswer, Wish, wish
from appliance.console.wizard.plan import Family, allot, clients_range, free_vhid, make_plan
from appliance.errors import UsageError


def addresses(family: Family) -> list[str]:
    return [str(each) for each in (family.vip, *family.nodes) if each is not None]


@pytest.mark.parametrize(
    ("text", "gateway", "expected"),
    [
        ("192.168.1.0/24", None, ["192.168.1.1/24", "192.168.1.2/24", "192.168.1.3/24"]),
        ("198.51.100.200/24", "198.51.100.1", ["198.51.100.200/24", "198.51.100.201/24", "198.51.100.202/24"]),
        ("198.51.100.0/24", "198.51.100.1", ["198.51.100.2/24", "198.51.100.3/24", "198.51.100.4/24"]),
        ("198.51.100.200/24", "198.51.100.201", ["198.51.100.200/24", "198.51.100.202/24", "198.51.100.203/24"]),
        ("192.168.1.254/24", None, ["192.168.1.254/24", "192.168.1.253/24", "192.168.1.252/24"]),
        ("192.168.1.253/24", None, ["192.168.1.253/24", "192.168.1.254/24", "192.168.1.252/24"]),
        ("192.168.1.0/29", "192.168.1.1", ["192.168.1.2/29", "192.168.1.3/29", "192.168.1.4/29"]),
        ("192.168.1.0/24 192.168.1.1 192.168.1.3", None, ["192.168.1.2/24", "192.168.1.1/24", "192.168.1.3/24"]),
        ("192.168.1.9/24 192.168.1.7 192.168.1.5", None, ["192.168.1.9/24", "192.168.1.7/24", "192.168.1.5/24"]),
        ("2001:db8:1::/64", None, ["2001:db8:1::1/64", "2001:db8:1::2/64", "2001:db8:1::3/64"]),
        ("2001:db8:f::200/64", "2001:db8:f::1", ["2001:db8:f::200/64", "2001:db8:f::201/64", "2001:db8:f::202/64"]),
    ],
)
def test_addresses_of_a_network_with_a_virtual_one(text: str, gateway: str | None, expected: list[str]) -> None:
    router = ip_address(gateway) if gateway else None
    told = wish(text, 6 if "::" in text else 4)
    assert addresses(allot(told, has_vip=True, gateway=router)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("172.16.1.0/24", ["172.16.1.2/24", "172.16.1.3/24"]),
        ("172.16.1.0/30", ["172.16.1.1/30", "172.16.1.2/30"]),
        ("172.16.1.5/24", ["172.16.1.5/24", "172.16.1.6/24"]),
        ("172.16.1.0/24 172.16.1.8 172.16.1.4", ["172.16.1.8/24", "172.16.1.4/24"]),
    ],
)
def test_addresses_of_the_sync_network(text: str, expected: list[str]) -> None:
    assert addresses(allot(wish(text, 4), has_vip=False)) == expected


def test_a_network_that_is_too_small_is_refused() -> None:
    with pytest.raises(UsageError, match="too few addresses") as refused:
        allot(wish("192.168.1.0/30", 4), has_vip=True)
    assert "needs 3" in refused.value.hint


@pytest.mark.parametrize("prefix", [24, 28, 29])
@pytest.mark.parametrize("router", [None, 1, 2, 6])
def test_all_addresses_of_a_plan_are_usable_and_differ(prefix: int, router: int | None) -> None:
    gateway: Address | None = ip_address(f"192.0.2.{router}") if router is not None else None
    for host in range(2 ** (32 - prefix) - 1):
        interface = ip_interface(f"192.0.2.{host}/{prefix}")
        if interface.ip == gateway:
            continue
        family = allot(Wish(interface=interface), has_vip=True, gateway=gateway)
        assert family.vip is not None
        used = {family.vip.ip, *(node.ip for node in family.nodes)}
        assert len(used) == 3
        assert not used & {interface.network.network_address, interface.network.broadcast_address, gateway}
        assert all(address in interface.network for address in used)


def test_the_vhid_is_the_last_byte_where_that_is_free() -> None:
    lan = allot(wish("192.168.1.0/24", 4), has_vip=True)
    zero = allot(wish("10.0.1.0/23", 4), has_vip=True)
    assert free_vhid([lan], set()) == 1
    assert free_vhid([lan], {1, 2}) == 3
    assert free_vhid([zero], {1}) == 2


def test_the_range_for_clients_avoids_the_cluster() -> None:
    lan = wish("192.168.1.0/24", 4)
    assert clients_range(lan.interface, []) == "192.168.1.100-192.168.1.199"
    assert clients_range(lan.interface, [ip_address("192.168.1.110")]) == "192.168.1.111-192.168.1.199"
    assert clients_range(ip_interface("192.168.1.0/28"), []) == "192.168.1.8-192.168.1.14"


def test_a_plan_has_every_network_in_the_order_of_the_answers() -> None:
    def network(name: str, kind: Kind, text: str) -> NetworkAnswer:
        return NetworkAnswer(name=name, kind=kind, devices=("a" + name, "b" + name), wishes=(wish(text, 4),))

    told = Answers(
        nodes=("fw1", "fw2"),
        this="fw1",
        networks=(
            network("wan", Kind.WAN, "198.51.100.0/24"),
            network("lan", Kind.LAN, "192.168.1.0/24"),
            network("sync", Kind.SYNC, "172.16.1.0/24"),
        ),
    )
    chosen = replace(told, networks=(replace(told.networks[0], vhid=9), *told.networks[1:]))
    assert [each.vhid for each in make_plan(chosen).networks] == [9, 1, None]
    plan = make_plan(told)
    assert [(each.name, each.vhid) for each in plan.networks] == [("wan", 1), ("lan", 2), ("sync", None)]
    assert plan.sync.devices == ("async", "bsync")
    assert [each.name for each in plan.of_kind(Kind.LAN)] == ["lan"]
