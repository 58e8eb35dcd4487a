"""One test per rule about gateways: what is refused, with which message and where."""

from __future__ import annotations

from typing import Any

import pytest

from appliance_gateways.verify import verify
from tests.unit.plugins.gateways.samples import BALANCED, EXAMPLE, SIX_GW, TWO, WAN2_GW, WAN_GW, Network, config_of


def problems(values: Any, network: Network | None = None) -> list[tuple[str, str, str]]:
    """``(path, message, severity)`` of everything that is wrong."""
    found = verify(config_of(values, network))
    return [(".".join(map(str, problem.path[1:])), problem.message, problem.severity) for problem in found]


def one(values: Any, network: Network | None = None) -> tuple[str, str, str]:
    (found,) = problems(values, network)
    return found


def gateway(**values: Any) -> dict[str, Any]:
    return {"gateway": {"g": {**WAN_GW, **values}}}


def test_a_good_configuration_has_no_problems() -> None:
    assert problems(EXAMPLE) == []
    assert problems(gateway(address=None, address6="fe80::1", monitor="fe80::1")) == []
    assert problems({}) == []


def test_gateways_need_interfaces() -> None:
    (problem,) = verify(config_of(bare=True))
    assert problem.message == "gateways need an [interfaces] table that declares their WANs"


def test_the_interface_exists() -> None:
    assert one(gateway(interface="dsl")) == (
        "gateway.g.interface", "there is no interface 'dsl'; [interfaces] has bare, lan, wan, wan2", "error",
    )  # fmt: skip


def test_a_gateway_is_in_a_network_of_its_interface() -> None:
    assert one(gateway(address="203.0.113.1")) == (
        "gateway.g.address", "203.0.113.1 is in no network of wan (198.51.100.0/24)", "error",
    )  # fmt: skip


def test_a_virtual_address_makes_a_network_too() -> None:
    network = Network(virtual={"bare": ["192.0.2.5/24"]})
    assert problems(gateway(interface="bare", address="192.0.2.1"), network) == []
    assert (
        one(gateway(interface="bare", address="10.0.0.1"), network)[1]
        == "10.0.0.1 is in no network of bare (192.0.2.0/24)"
    )


def test_an_interface_without_any_address_of_the_family_reaches_nobody() -> None:
    assert one(gateway(interface="bare")) == (
        "gateway.g.address", "bare has no IPv4 address, neither its own nor a virtual one", "error",
    )  # fmt: skip
    assert one(gateway(interface="wan2", address=None, address6="2001:db8::1"))[1].startswith(
        "wan2 has no IPv6 address"
    )


@pytest.mark.parametrize("address", ["198.51.100.201", "198.51.100.200"])
def test_a_gateway_is_somebody_else(address: str) -> None:
    network = Network(virtual={"wan": ["198.51.100.200/24"]})
    message = f"{address} is an address of this cluster; name the provider's router"
    assert one(gateway(address=address), network) == ("gateway.g.address", message, "error")


@pytest.mark.parametrize("address", ["224.0.0.1", "0.0.0.0", "127.0.0.1"])
def test_a_gateway_is_a_router(address: str) -> None:
    assert one(gateway(address=address))[1] == f"{address} is not the address of a router"


def test_there_is_room_for_255_gateways() -> None:
    many = {f"g{number}": {**WAN_GW, "monitoring": False} for number in range(256)}
    found = [problem for problem in problems({"gateway": many}) if problem[2] == "error"]
    assert found == [("gateway", "256 gateways are too many: the mark of a connection has room for 255", "error")]


def test_a_name_is_a_gateway_or_a_group() -> None:
    values = {"gateway": TWO, "group": {"wan_gw": BALANCED}}
    assert one(values) == (
        "group.wan_gw",
        "wan_gw already is a gateway; rules name gateways and groups alike, so give one another name",
        "error",
    )


def test_a_default_names_something_of_its_family() -> None:
    assert one({"default4": "dsl", "gateway": TWO}) == (
        "default4", "there is no gateway or group 'dsl'; [gateways] has wan_gw, wan2_gw", "error",
    )  # fmt: skip
    assert one({"default6": "dsl"})[1] == "there is no gateway or group 'dsl'; [gateways] has nothing"
    assert one({"default6": "wan_gw", "gateway": TWO}) == (
        "default6", "wan_gw has no IPv6 address, so it cannot carry IPv6", "error",
    )  # fmt: skip


def test_the_default_route_is_declared_in_one_place() -> None:
    network = Network(defaults={"wan": ["198.51.100.1", "2001:db8:ffff::1"]})
    (problem,) = verify(config_of({"default4": "wan_gw", "gateway": TWO}, network))
    assert problem.path == ("gateways", "default4")
    assert problem.also == (("interfaces", "wan", "routes"),)
    assert problem.message == (
        "[interfaces.wan] also has an IPv4 default route; remove it there, "
        'or leave the default to it with default4 = ""'
    )
    assert problems({"gateway": TWO}, network) == []


def test_an_address_that_is_probed_twice_is_warned_about() -> None:
    values = {"gateway": {"a": {**WAN_GW, "monitor": "192.0.2.1"}, "b": {**WAN2_GW, "monitor": "192.0.2.1"}}}
    assert one(values) == (
        "gateway.b.monitor", "192.0.2.1 is probed for a already: when it fails both gateways are down", "warning",
    )  # fmt: skip


def test_two_gateways_of_a_family_on_one_wan_are_warned_about() -> None:
    values = {"gateway": {"a": WAN_GW, "b": {**WAN_GW, "address": "198.51.100.2"}, "six": SIX_GW}}
    message = "wan has the IPv4 gateway a already; connections that come in there are answered through a"
    assert one(values) == ("gateway.b.address", message, "warning")


@pytest.mark.parametrize(("what", "unit"), [("loss", "%"), ("latency", "ms")])
def test_a_warning_comes_before_the_end(what: str, unit: str) -> None:
    message = f"warns at 30 {unit}, after it is down at 20 {unit}: the first has to be lower"
    assert one(gateway(**{f"{what}_warn": 30, f"{what}_down": 20})) == (f"gateway.g.{what}_warn", message, "error")


@pytest.mark.parametrize(("window", "interval", "probes"), [(3, 0.5, "6"), (3600, 0.5, "7200")])
def test_the_window_holds_a_sensible_number_of_probes(window: float, interval: float, probes: str) -> None:
    message = f"{probes} probes fit into {window} s, one every {interval} s; 10 to 3600 are needed"
    assert one(gateway(loss_window=window, probe_interval=interval)) == ("gateway.g.loss_window", message, "error")


def test_a_latency_that_counts_as_loss_is_never_reached() -> None:
    message = "can never be reached: a probe is lost after 0.4 s; 400 is the most"
    assert one(gateway(reply_within=0.4)) == ("gateway.g.latency_down", message, "error")


def test_a_monitor_is_of_a_family_of_the_gateway() -> None:
    assert one(gateway(monitor="2001:db8:5::1")) == (
        "gateway.g.monitor", "2001:db8:5::1 is IPv6, but the gateway has an IPv4 address only", "error",
    )  # fmt: skip


def test_a_monitor_can_answer_and_is_out_there() -> None:
    assert one(gateway(monitor="224.0.0.1"))[1] == "224.0.0.1 is not the address of a host that could answer"
    assert one(gateway(monitor="192.168.1.7")) == (
        "gateway.g.monitor", "192.168.1.7 is in a network of lan: probing it says nothing about this gateway", "error",
    )  # fmt: skip


def test_what_has_no_effect_without_monitoring_is_told() -> None:
    found = problems(gateway(monitoring=False, monitor="192.0.2.1", demote=10))
    assert found == [
        ("gateway.g.monitor", "has no effect: monitoring = false", "warning"),
        (
            "gateway.g.demote",
            "has no effect: a gateway that is not monitored is down only with its link, which demotes anyway",
            "warning",
        ),
    ]


def members(*names: str) -> dict[str, Any]:
    every = {**TWO, "six": SIX_GW, "dual": {"interface": "bare", "address": "192.0.2.1", "address6": "2001:db8:9::1"}}
    return {"gateway": every, "group": {"g": {"members": [{"gateway": name} for name in names]}, "other": BALANCED}}


BARE = Network(virtual={"bare": ["192.0.2.5/24", "2001:db8:9::5/64"]})


def test_a_group_has_members() -> None:
    assert one(members(), BARE) == ("group.g", 'a group needs members = [{ gateway = "…" }]', "error")


def test_members_are_gateways_and_each_is_there_once() -> None:
    assert one(members("dsl"), BARE) == (
        "group.g.members.0.gateway", "dsl is no gateway; gateways are wan_gw, wan2_gw, six, dual", "error",
    )  # fmt: skip
    assert one(members("other"), BARE)[1].startswith("other is a group; groups have no groups in them")
    assert one(members("wan_gw", "wan_gw"), BARE) == (
        "group.g.members.1.gateway", "wan_gw is a member already; its share is its weight", "error",
    )  # fmt: skip


def test_a_group_does_not_mix_families() -> None:
    message = (
        "wan_gw carries IPv4, {} carries {}: the members of a group have to stand in for each other; "
        "make a group for each family"
    )
    assert one(members("wan_gw", "six"), BARE) == ("group.g.members", message.format("six", "IPv6"), "error")
    assert one(members("wan_gw", "dual"), BARE)[1] == message.format("dual", "IPv4 and IPv6")
