"""What is refused or warned about in outbound rules; each problem names its key."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.config import Config
from appliance.config.model import NodeTable
from appliance.errors import Problem
from appliance_outbound_nat.config import OutboundNatConfig
from appliance_outbound_nat.verify import verify
from tests.unit.plugins.outbound_nat.fakes import MULTI_WAN, config

RULE = {"interface": "wan", "source": "net:lan", "translation": "vip:wan"}


def rule(**values: Any) -> str:
    lines = [
        f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}"
        for key, value in (RULE | values).items()
    ]
    return "\n".join(["[[rule]]", *lines, ""])


def problems(toml: str, **cluster: Any) -> list[Problem]:
    return verify(config(toml, **cluster))


def told(severity: str = "error", **values: Any) -> tuple[tuple[str | int, ...], str]:
    """The one problem of one rule: the key below the rule, and the message."""
    (problem,) = problems('mode = "manual"\n' + rule(**values))
    assert problem.severity == severity
    assert problem.path[:3] == ("outbound_nat", "rule", 0)
    return problem.path[3:], problem.message


def test_the_example_clusters_have_no_problem() -> None:
    assert problems("") == []
    assert problems('mode = "manual"\n' + rule()) == []
    assert problems("", **MULTI_WAN) == []


def test_without_an_interfaces_table_there_is_nothing_to_translate() -> None:
    table = OutboundNatConfig()
    (problem,) = verify(Config({"outbound_nat": table}, node=NodeTable(name="fw1")))
    assert "needs an [interfaces] table" in problem.message


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("interface", "wna", "there is no interface 'wna'; there are: lan, sync, wan"),
        ("source", "wbe", "'wbe' is neither an address nor a network"),
        ("source", "10.0.0.9-10.0.0.1", "is reversed"),
        ("destination", "web_ports", "alias 'web_ports' holds ports"),
        ("translation", "vip:wna", "there is no virtual host 'wna'; there are: lan, wan"),
        ("translation", "10.0.0.0/8", "a pool has at most 65536 addresses"),
    ],
)
def test_words_that_name_nothing_are_refused_at_their_key(key: str, value: str, message: str) -> None:
    path, said = told(**{key: value})
    assert path == (key,)
    assert message in said


def test_every_rule_that_names_a_virtual_host_that_is_gone_is_told() -> None:
    toml = 'mode = "manual"\n' + rule() + rule(source="10.0.0.0/8") + rule(translation="interface")
    gone = {"vips": {"lan": ["lan", "192.168.1.1/24"]}}
    found = [(problem.path, problem.message) for problem in problems(toml, **gone)]
    assert [path for path, _ in found] == [("outbound_nat", "rule", place, "translation") for place in (0, 1)]
    assert all("there is no virtual host 'wan'" in message for _, message in found)


@pytest.mark.parametrize("key", ["source_port", "destination_port", "port"])
def test_ports_need_a_protocol_that_has_some(key: str) -> None:
    path, message = told(**{key: 80})
    assert (path, 'write protocol = "tcp", "udp" or "tcp/udp"' in message) == ((key,), True)
    assert problems('mode = "manual"\n' + rule(protocol="tcp", **{key: 80})) == []
    assert problems('mode = "manual"\n' + rule(protocol=6, **{key: 80})) == []


def test_a_reversed_range_of_ports_is_refused() -> None:
    path, message = told(protocol="tcp", port="2000-1000")
    assert (path, "is reversed: write 1000-2000" in message) == (("port",), True)


def test_an_alias_of_ports_is_nothing_to_choose_from() -> None:
    path, message = told(protocol="tcp", port="web_ports")
    assert (path, "one port or one range" in message) == (("port",), True)


@pytest.mark.parametrize("other", [{"randomize_ports": True}, {"port": "1024-65535", "protocol": "tcp"}])
def test_a_static_port_contradicts_choosing_one(other: dict[str, Any]) -> None:
    path, message = told(static_port=True, **other)
    assert (path, "contradict each other" in message) == (("static_port",), True)


@pytest.mark.parametrize("key", ["static_port", "randomize_ports"])
def test_what_has_no_effect_without_translation_is_a_warning(key: str) -> None:
    path, message = told("warning", translation="none", **{key: True})
    assert (path, "has no effect" in message) == ((key,), True)


@pytest.mark.parametrize(
    "values",
    [
        {"destination": "2001:db8::1", "source": "10.0.0.0/8"},
        {"source": "2001:db8:1::/64", "translation": "203.0.113.7"},
        {"source": "six", "destination": "web"},
    ],
)
def test_families_are_not_mixed(values: dict[str, Any]) -> None:
    path, message = told(**values)
    assert path == ()
    assert "mixes IPv4 and IPv6" in message
    assert all(value in message for value in values.values())


def test_an_interface_with_a_virtual_host_alone_cannot_translate_to_its_own_address() -> None:
    bare = {"interfaces": {"wan": [], "lan": ["192.168.1.2/24"]}}
    (problem,) = problems('mode = "manual"\n' + rule(translation="interface"), **bare)
    assert "wan has no address of its own to translate to" in problem.message


@pytest.mark.parametrize("source", ["self", "address:lan", "192.168.1.2", "192.168.1.2/32"])
def test_the_node_itself_is_never_translated_to_a_virtual_host(source: str) -> None:
    for translation in ("vip:wan", "198.51.100.200"):
        path, message = told(source=source, translation=translation)
        assert path == ("translation",)
        assert "would lose its Internet while it is BACKUP" in message


def test_a_rule_for_the_node_itself_has_no_effect_otherwise() -> None:
    path, message = told("warning", source="self", translation="interface")
    assert (path, "always leaves by its own address" in message) == (("source",), True)


def test_everybody_but_the_node_and_a_whole_network_are_not_the_node() -> None:
    assert problems('mode = "manual"\n' + rule(source="!self") + rule(source="192.168.1.0/24")) == []


def test_a_virtual_host_of_another_interface_is_a_warning() -> None:
    path, message = told("warning", translation="vip:lan")
    assert (path, "virtual host 'lan' is on lan, not on wan" in message) == (("translation",), True)


@pytest.mark.parametrize("translation", ["198.51.100.77", "198.51.100.200-198.51.100.203"])
def test_addresses_for_which_nobody_answers_are_a_warning(translation: str) -> None:
    path, message = told("warning", translation=translation)
    assert (path, "make them aliases of a virtual host" in message) == (("translation",), True)


def test_a_routed_pool_and_one_of_aliases_need_no_answer() -> None:
    assert problems('mode = "manual"\n' + rule(translation="203.0.113.0/28")) == []
    stacked = {"wan": ["198.51.100.202/24", "198.51.100.203/24"]}
    assert problems('mode = "manual"\n' + rule(translation="198.51.100.202-198.51.100.203"), stacked=stacked) == []


@pytest.mark.parametrize("mode", ["disabled", "automatic"])
def test_rules_that_a_mode_does_not_use_are_a_warning(mode: str) -> None:
    (problem,) = problems(f'mode = "{mode}"\n{rule()}')
    assert (problem.path, problem.severity) == (("outbound_nat", "mode"), "warning")
    assert f"the rule has no effect in the mode {mode}" in problem.message
    assert problem.also == (("outbound_nat", "rule", 0),)
    (problem,) = problems(f'mode = "{mode}"\n{rule()}{rule()}')
    assert "the 2 rules have no effect" in problem.message


def test_an_id_is_given_once() -> None:
    (problem,) = problems('mode = "manual"\n' + rule(id="a") + rule(id="b") + rule(id="a"))
    assert (problem.path, problem.also) == (
        ("outbound_nat", "rule", 2, "id"),
        (("outbound_nat", "rule", 0, "id"),),
    )
    assert "given twice" in problem.message
