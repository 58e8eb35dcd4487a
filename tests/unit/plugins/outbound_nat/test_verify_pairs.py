"""What is refused or warned about in one-to-one entries."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.errors import Problem
from appliance_outbound_nat.verify import verify
from tests.unit.plugins.outbound_nat.fakes import MULTI_WAN, config

ENTRY = {"interface": "wan2", "external": "vip:wan2nat", "internal": "192.168.2.10"}


def entry(**values: Any) -> str:
    lines = [
        f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}"
        for key, value in (ENTRY | values).items()
    ]
    return "\n".join(["[[one_to_one]]", *lines, ""])


def problems(*entries: str) -> list[Problem]:
    return verify(config("".join(entries), **MULTI_WAN))


def test_the_mail_server_of_the_book_has_no_problem() -> None:
    assert problems(entry()) == []


@pytest.mark.parametrize(
    ("values", "key", "message"),
    [
        ({"interface": "wan3"}, "interface", "there is no interface 'wan3'"),
        ({"external": "vip:x"}, "external", "there is no virtual host 'x'"),
        ({"internal": "10.0.0.1-10.0.0.2"}, "internal", "is a range; write an address or a network"),
        ({"destination": "x"}, "destination", "neither an address"),
        ({"external": "2001:db8::1"}, "external", "external 2001:db8::1 is IPv6, internal 192.168.2.10 is IPv4"),
        ({"internal": "2001:db8::1"}, "external", "virtual host 'wan2nat' has no IPv6 address"),
        ({"external": "192.0.2.64/28"}, "external", "external /28 and internal /32 differ in size"),
        ({"external": "192.168.2.10"}, "external", "are the same addresses"),
        ({"destination": "2001:db8::/32"}, "destination", "has no IPv4 address"),
        ({"external": "203.0.113.12"}, "external", "203.0.113.12 is this node's own address"),
        ({"external": "203.0.113.8/29", "internal": "192.168.2.8/29"}, "external", "203.0.113.12 is this node's own"),
    ],
)
def test_what_cannot_be_is_refused_at_its_key(values: dict[str, Any], key: str, message: str) -> None:
    (problem,) = problems(entry(**values))
    assert (problem.path, problem.severity) == (("outbound_nat", "one_to_one", 0, key), "error")
    assert message in problem.message


def test_a_virtual_host_of_another_interface_is_a_warning() -> None:
    (problem,) = problems(entry(external="vip:wan"))
    assert problem.severity == "warning"
    assert "virtual host 'wan' is on wan, not on wan2" in problem.message


@pytest.mark.parametrize(
    "values",
    [{"external": "203.0.113.50"}, {"external": "203.0.113.64/28", "internal": "192.168.2.64/28"}],
)
def test_addresses_for_which_nobody_answers_are_a_warning(values: dict[str, Any]) -> None:
    (problem,) = problems(entry(**values))
    assert (problem.severity, problem.path[-1]) == ("warning", "external")
    assert f"no node has all of {values['external']} on wan2" in problem.message
    assert problems(entry(external="203.0.113.10")) == [], "this one is held"


@pytest.mark.parametrize("key", ["external", "internal"])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            {"external": "192.0.2.64/28", "internal": "10.1.0.0/28"},
            {"external": "192.0.2.70", "internal": "10.1.0.6"},
        ),
        ({"external": "192.0.2.70", "internal": "10.1.0.6"}, {"external": "192.0.2.70", "internal": "10.1.0.6"}),
    ],
)
def test_overlapping_entries_are_refused_with_both_places(key: str, one: dict[str, str], other: dict[str, str]) -> None:
    apart = {"external": {"internal": "10.9.0.0/28"}, "internal": {"external": "192.0.2.128/28"}}[key]
    size = "/28" if "/" in one["external"] else ""
    moved = {name: value if size else value.replace("/28", "") for name, value in apart.items()}
    (problem,) = problems(entry(**(one | moved)), entry(**other))
    assert (problem.path, problem.also) == (
        ("outbound_nat", "one_to_one", 1, key),
        (("outbound_nat", "one_to_one", 0, key),),
    )
    assert f"{key} {other[key]} overlaps" in problem.message


def test_a_network_inside_of_another_is_found_behind_unrelated_ones() -> None:
    wide = entry(external="192.0.2.64/26", internal="10.1.0.0/26")
    inner = [entry(external=f"192.0.2.{64 + n}", internal=f"10.2.0.{n}") for n in (1, 2, 40)]
    found = problems(*inner, wide)
    assert [problem.message.split(" ")[0] for problem in found] == ["external"] * 3


def test_one_machine_may_have_an_address_on_each_wan_but_not_two_on_one() -> None:
    wan = {"interface": "wan", "external": "192.0.2.50"}
    assert problems(entry(), entry(**wan)) == []
    (problem,) = problems(entry(), entry(external="192.0.2.50"))
    assert problem.path[-1] == "internal"


def test_the_same_address_outside_on_two_interfaces_is_refused() -> None:
    (problem,) = problems(
        entry(external="192.0.2.50"), entry(interface="wan", external="192.0.2.50", internal="10.0.0.1")
    )
    assert problem.path[-1] == "external"


def test_what_is_disabled_overlaps_nothing() -> None:
    assert problems(entry(), entry(disabled=True)) == []


def test_an_id_is_given_once() -> None:
    (problem,) = problems(entry(id="a"), entry(id="a", external="192.0.2.50", internal="10.0.0.1"))
    assert problem.path == ("outbound_nat", "one_to_one", 1, "id")
