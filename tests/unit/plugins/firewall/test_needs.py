"""What shuts the other nodes out has to be confirmed; what is missing is tested with the check `automatic`."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from appliance.config import Config, LogicalInterface, Model, Traffic
from appliance.errors import Problem
from appliance_firewall.needs import cuts
from appliance_firewall.reading import reading_of
from tests.unit.plugins.firewall.fakes import configured

PASS_API = '[[rule]]\ninterface = "sync"\naction = "pass"\nprotocol = "tcp"\n'


def found(new: str, old: str | None = "") -> list[Problem]:
    config = configured(new, cluster=True)
    return list(cuts(config, reading_of(config), None if old is None else configured(old, cluster=True)))


def test_a_kind_that_no_rule_passes_any_more_is_named_with_its_interface() -> None:
    (problem,) = found('replace = ["api"]\n')
    assert (problem.severity, problem.path) == ("confirm", ("firewall", "replace"))
    assert problem.message == "no rule would pass api at sync any more: the other nodes do not reach this one"


def test_without_automatic_rules_all_of_them_are() -> None:
    problems = found("automatic = false\n")
    assert {problem.path for problem in problems} == {("firewall", "automatic")}
    assert [problem.message.split()[4] for problem in problems] == ["carp", "api", "probe"]


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ("", ""),
        ('replace = ["api"]\n' + PASS_API, ""),
        ('replace = ["api"]\n', 'replace = ["api"]\n'),
        ('replace = ["ping"]\n', ""),
        ('nodes = ["172.16.1.2", "172.16.1.3"]\n', ""),
        ('nodes = ["172.16.1.9"]\n', 'nodes = ["172.16.1.9"]\n'),
        ("automatic = false\n", None),
    ],
)
def test_what_shuts_nobody_out_needs_nothing(new: str, old: str | None) -> None:
    assert found(new, old) == []


def test_a_node_that_is_not_named_any_more_is() -> None:
    (problem,) = found('nodes = ["172.16.1.2"]\n')
    assert (problem.severity, problem.path) == ("confirm", ("firewall", "nodes"))
    assert "172.16.1.3 is not named here and a node" in problem.message


class Doors(Model):
    """A table of a service by which operators come in."""

    def own_traffic(self, interfaces: Mapping[str, LogicalInterface]) -> tuple[Traffic, ...]:
        ports = {"lan": 22, "wan": 2222}
        return tuple(
            Traffic(name="ssh", interface=name, protocol="tcp", port=port, is_way_in=True)
            for name, port in ports.items()
            if name in interfaces
        )


def with_doors(text: str) -> Config:
    config = configured(text)
    return Config({**config.tables, "doors": Doors()}, node=config.node)


def shut(new: str) -> list[str]:
    config = with_doors(new)
    return [problem.message for problem in cuts(config, reading_of(config), with_doors(""))]


def test_operators_must_not_be_locked_out_without_a_confirmation() -> None:
    said = "no rule would pass ssh at {} any more: whoever comes in there is cut off"
    assert shut('replace = ["ssh"]\n') == [said.format("wan")]  # anti-lockout keeps port 22 of lan
    assert shut('replace = ["ssh"]\nanti_lockout = ""\n') == [said.format("lan"), said.format("wan")]
    rule = '[[rule]]\ninterface = "wan"\naction = "pass"\nprotocol = "tcp"\ndestination_port = 2222\n'
    assert shut(f'replace = ["ssh"]\n{rule}') == []
