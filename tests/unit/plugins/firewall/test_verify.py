"""What is refused in the table as a whole; each problem names its key and what would be right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from appliance.config import Config
from appliance.config.model import NodeTable
from appliance.errors import Problem
from appliance_firewall.config import FirewallConfig
from appliance_firewall.verify import verify
from tests.unit.plugins.firewall.paper import Cluster, config_of, rule

Path = tuple[str | int, ...]


def problems(*rules: Mapping[str, Any], cluster: Cluster | None = None, **table: Any) -> list[Problem]:
    return verify(config_of(*rules, cluster=cluster, **table))


def only(found: list[Problem]) -> tuple[Path, str, str]:
    assert len(found) == 1, found
    return found[0].path, found[0].message, found[0].severity


def test_the_example_has_no_problems() -> None:
    rules = (
        rule(source="net:lan"),
        rule(interface=["lan", "dmz"], protocol="tcp", destination="mail", destination_port=["web", 25], log=True),
        rule(interface="wan", protocol="icmp", icmp_types=["echo-request"], destination="vip:wan", schedule="office"),
    )
    alias = {"mail": {"type": "hosts", "entries": ["192.168.2.10"]}, "web": {"type": "ports", "entries": [80]}}
    found = problems(
        *rules, alias=alias, schedule={"office": {}}, nodes=["172.16.1.2", "172.16.1.3"], block_bogons=["wan"],
        block_private=["wan"], anti_lockout="lan", replace=["carp"],
    )  # fmt: skip
    assert found == []


def test_without_interfaces_there_is_nothing_to_filter() -> None:
    found = verify(Config({"firewall": FirewallConfig()}, node=NodeTable(name="fw1")))
    path, message, _ = only(found)
    assert path == ("firewall",)
    assert "needs an [interfaces] table" in message


@pytest.mark.parametrize(
    ("table", "path", "said"),
    [
        ({"anti_lockout": "lam"}, ("anti_lockout",), "there is no interface 'lam'; did you mean 'lan'?"),
        ({"block_bogons": ["wan", "inet"]}, ("block_bogons", 1), "there is no interface 'inet'"),
        ({"block_private": ["inet"]}, ("block_private", 0), "there are dmz, lan, sync, wan"),
        ({"block_private": ["wan", "wan"]}, ("block_private", 1), "wan is named twice"),
        ({"replace": ["crap"]}, ("replace", 0), "no automatic rules of the kind 'crap'; there are carp, ipv6, pfsync"),
        ({"nodes": ["172.16.1.3"]}, ("nodes",), "it has 172.16.1.2 on the sync interface; list all nodes"),
        ({"alias": {"any": {"type": "hosts"}}}, ("alias", "any"), "'any' means something else in a rule"),
        ({"alias": {"net": {"type": "hosts"}}}, ("alias", "net"), "give the alias another name"),
        (
            {"alias": {"a": {"type": "hosts", "entries": ["b"]}, "b": {"type": "hosts", "entries": ["a"]}}},
            ("alias", "b", "entries", 0),
            "in a circle: a -> b -> a",
        ),
        ({"alias": {"a": {"type": "ports", "entries": [1, "9-5"]}}}, ("alias", "a", "entries", 1), "reversed"),
    ],
)
def test_what_is_wrong_is_refused_at_its_key(table: dict[str, Any], path: Path, said: str) -> None:
    where, message, severity = only(problems(**table))
    assert (where, severity) == (("firewall", *path), "error")
    assert said in message


@pytest.mark.parametrize(
    ("table", "cluster", "path", "said"),
    [
        ({"anti_lockout": ""}, Cluster(), "anti_lockout", "can make this node unreachable"),
        ({"automatic": False}, Cluster(), "automatic", "own ones have to pass carp, ipv6, pfsync, ping"),
        ({"nodes": ["10.0.0.1"]}, Cluster(sync=""), "nodes", "no table names a sync interface"),
    ],
)
def test_what_may_be_meant_is_only_warned_about(table: dict[str, Any], cluster: Cluster, path: str, said: str) -> None:
    where, message, severity = only(problems(cluster=cluster, **table))
    assert (where, severity) == (("firewall", path), "warning")
    assert said in message


def test_all_aliases_together_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance_firewall.aliases.RANGES_MAX", 1)
    path, message, _ = only(problems(alias={"a": {"type": "ports", "entries": [1, 3]}}))
    assert path == ("firewall", "alias", "a")
    assert "more than 1 entries" in message


def test_an_id_belongs_to_one_rule() -> None:
    found = problems(rule(id="web"), rule(action="block"), rule(id="web", source="10.0.0.1"))
    path, message, severity = only([each for each in found if each.path[-1] == "id"])
    assert path == ("firewall", "rule", 2, "id")
    assert "'web' is taken by another rule" in message
    assert severity == "error"
    assert found[0].also == (("firewall", "rule", 0, "id"),)


def test_a_rule_behind_one_that_matches_the_same_is_never_asked() -> None:
    found = problems(rule(), rule(action="block", description="too late"))
    path, message, severity = only(found)
    assert path == ("firewall", "rule", 1)
    assert "rule 1 matches the same and comes before it" in message
    assert (severity, found[0].also) == ("warning", (("firewall", "rule", 0),))


def test_rules_that_differ_or_are_disabled_do_not_hide_each_other() -> None:
    assert problems(rule(disabled=True), rule(), rule(direction="out"), rule(interface="dmz")) == []


def test_every_rule_is_looked_at() -> None:
    found = problems(rule(source="nobody"), rule(destination="10.0.0.5-10.0.0.1"))
    assert [each.path[:3] for each in found] == [("firewall", "rule", 0), ("firewall", "rule", 1)]
