"""What is refused or warned about in port forwards."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.errors import Problem
from appliance_outbound_nat.verify import verify
from tests.unit.plugins.outbound_nat.fakes import config

FORWARD = {"interface": "wan", "destination": "vip:wan", "port": 8080, "target": "192.168.1.10"}


def forward(**values: Any) -> str:
    lines = [
        f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}"
        for key, value in (FORWARD | values).items()
    ]
    return "\n".join(["[[port_forward]]", *lines, ""])


def problems(*entries: str, **cluster: Any) -> list[Problem]:
    return verify(config("".join(entries), **cluster))


def told(severity: str, **values: Any) -> tuple[str | int, str]:
    (problem,) = problems(forward(**values))
    assert problem.severity == severity
    assert problem.path[:3] == ("outbound_nat", "port_forward", 0)
    return problem.path[-1], problem.message


def test_a_forward_of_a_virtual_host_has_no_problem() -> None:
    assert problems(forward(), forward(port="1000-1010", target_port=2000), forward(port=443)) == []


@pytest.mark.parametrize(
    ("values", "key", "message"),
    [
        ({"interface": "wna"}, "interface", "there is no interface 'wna'"),
        ({"destination": "vip:wna"}, "destination", "there is no virtual host 'wna'; there are: lan, wan"),
        ({"destination": "2001:db8::1"}, "destination", "2001:db8::1 is IPv6, and the target is IPv4"),
        ({"source": "wbe"}, "source", "neither an address"),
        ({"source": "2001:db8::/32"}, "source", "2001:db8::/32 has no IPv4 address, and the target is IPv4"),
        ({"target": "mail"}, "target", "alias 'mail' holds 2 addresses"),
        ({"target": "192.168.1.2"}, "target", "the target 192.168.1.2 is this node itself"),
        ({"target": "198.51.100.200"}, "target", "the target 198.51.100.200 is this node itself"),
        ({"port": "2000-1000"}, "port", "is reversed"),
        ({"port": "any"}, "port", "'any' is not a port"),
        ({"port": "web_ports"}, "port", "'web_ports' is an alias; one port or one range"),
        ({"port": "1000-2000", "target_port": 65000}, "target_port", "it would end at 66000; the last port is 65535"),
        ({"port": "1000-3000", "target_port": 4000}, "target_port", "at most 1000 of them, 1000-3000 has 2001"),
    ],
)
def test_what_cannot_be_is_refused_at_its_key(values: dict[str, Any], key: str, message: str) -> None:
    path, said = told("error", **values)
    assert path == key
    assert message in said


def test_a_long_range_that_keeps_its_numbers_is_fine() -> None:
    assert problems(forward(port="1000-60000"), forward(protocol="udp", port="1000-60000", target_port=1000)) == []


@pytest.mark.parametrize("destination", ["address", "198.51.100.201"])
def test_the_node_s_own_address_does_not_move_in_a_takeover(destination: str) -> None:
    path, message = told("warning", destination=destination)
    assert path == "destination"
    assert "198.51.100.201 is this node's own address, which does not move in a takeover" in message


def test_a_virtual_host_of_another_interface_is_a_warning() -> None:
    path, message = told("warning", destination="vip:lan")
    assert (path, "virtual host 'lan' is on lan, not on wan" in message) == ("destination", True)


def test_an_address_for_which_nobody_answers_is_a_warning() -> None:
    path, message = told("warning", destination="198.51.100.77")
    assert (path, "no node has 198.51.100.77 on wan" in message) == ("destination", True)
    assert problems(forward(destination="203.0.113.77")) == [], "this one is routed to the cluster"


@pytest.mark.parametrize(
    ("values", "port"),
    [
        ({"destination": "address", "port": 22}, 22),
        ({"destination": "address", "port": "400-500"}, 443),
        ({"interface": "lan", "destination": "vip:lan", "port": 443}, 443),
    ],
)
def test_taking_the_ports_of_the_operators_away_is_a_warning(values: dict[str, Any], port: int) -> None:
    found = [problem.message for problem in problems(forward(**values)) if problem.path[-1] == "port"]
    assert len(found) == 1
    assert f"port {port} of " in found[0]
    assert "how operators reach this node" in found[0]


def test_udp_has_no_operators() -> None:
    assert problems(forward(interface="lan", destination="vip:lan", port=443, protocol="udp")) == []


def test_reflection_to_where_answers_may_not_come_back_from_is_a_warning() -> None:
    path, message = told("warning", reflection=True, target="10.77.0.1")
    assert (path, "10.77.0.1 is in no network of this node" in message) == ("target", True)


def test_reflection_needs_an_address_that_is_known() -> None:
    found = problems(forward(destination="address", reflection=True), interfaces={"wan": []}, vips={})
    assert any("wan has no configured address" in problem.message for problem in found)


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        ({}, {"target": "192.168.1.11"}, "tcp port 8080 of 198.51.100.200 is already forwarded to 192.168.1.10"),
        ({"protocol": "tcp/udp"}, {"protocol": "udp"}, "udp port 8080"),
        ({"port": "8000-9000"}, {}, "tcp port 8080"),
        ({"port": "8000-9000"}, {"port": "8100-8200"}, "tcp port 8100-8200"),
        ({"source": "10.0.0.0/8"}, {"source": "10.0.0.0/8"}, "tcp port 8080"),
        ({"destination": "198.51.100.200"}, {}, "tcp port 8080"),
        (
            {"reflection": True},
            {"interface": "lan", "destination": "198.51.100.200", "reflection": True},
            "tcp port 8080",
        ),
    ],
)
def test_a_forward_that_one_before_takes_whole_is_refused_with_both_places(
    one: dict[str, Any], other: dict[str, Any], message: str
) -> None:
    found = [problem for problem in problems(forward(**one), forward(**other)) if problem.severity == "error"]
    assert [problem.path for problem in found] == [("outbound_nat", "port_forward", 1, "port")]
    assert found[0].also == (("outbound_nat", "port_forward", 0, "port"),)
    assert message in found[0].message


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"protocol": "udp"}),
        ({}, {"port": 8081}),
        ({}, {"port": "8000-9000"}),
        ({"source": "10.0.0.0/8"}, {}),
        ({}, {"destination": "203.0.113.77"}),
        ({}, {"target": "2001:db8:1::10"}),
        ({"disabled": True}, {}),
    ],
)
def test_forwards_that_leave_something_for_each_other_are_fine(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert problems(forward(**one), forward(**other)) == []


def test_an_id_is_given_once() -> None:
    (problem,) = problems(forward(id="a"), forward(id="a", port=1))
    assert problem.path == ("outbound_nat", "port_forward", 1, "id")


def test_thousands_of_forwards_are_looked_at_quickly() -> None:
    many = "".join(forward(port=1000 + number) for number in range(3000))
    assert problems(many) == []
