"""What people type: ``show nat``, and ``nat convert`` with a file."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from appliance.console.grammar import Grammar
from appliance.errors import ApplianceError, ConfigError, RefusedError
from appliance.events import Event, Request
from appliance.plugin import Node, NoProvider
from appliance_outbound_nat import files
from appliance_outbound_nat.checks import checks
from appliance_outbound_nat.commands import ANSWER_S, COMMANDS, convert, render_convert, show_nat
from appliance_outbound_nat.events import GetNat
from appliance_outbound_nat.ruleset import fragment

EXAMPLE = """
[node]
name = "fw1"

[interfaces.wan]
device = "wan0"
addresses = ["198.51.100.201/24"]
routes = [{ to = "default", via = "198.51.100.1" }]

[interfaces.lan]
device = "lan0"
addresses = ["192.168.1.2/24"]

[carp]
password = "secret"

[[carp.vip]]
name = "wan"
interface = "wan"
vhid = 200
addresses = ["198.51.100.200/24"]

[outbound_nat]
mode = "automatic"   # as the book begins
"""


class Console:
    """A command's world."""

    node = Node(name="fw1")

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer

    async def call(self, request: Request[Any]) -> Any:
        assert isinstance(request, GetNat)
        if self.answer is None:
            raise NoProvider("GetNat")
        if self.answer == "never":
            await trio.sleep_forever()
        return self.answer

    def retained(self, kind: type[Event]) -> Sequence[Event]:
        raise AssertionError("this command looks at no event")


def shown(answer: Any) -> Any:
    return trio.run(show_nat, Console(answer), clock=trio.testing.MockClock(autojump_threshold=0))


def test_show_nat_passes_on_what_the_service_says() -> None:
    assert shown({"mode": "manual"}) == {"mode": "manual"}


def test_a_service_that_is_not_there_or_does_not_answer_is_told_with_a_remedy() -> None:
    with pytest.raises(ApplianceError, match=r"outbound_nat.* is not running on this node") as refused:
        shown(None)
    assert "show services" in refused.value.hint
    with pytest.raises(ApplianceError, match=f"did not answer within {ANSWER_S:g} s"):
        shown("never")


@pytest.fixture
def example(tmp_path: Path) -> Path:
    path = tmp_path / "appliance.toml"
    path.write_text(EXAMPLE)
    return path


def test_converting_prints_what_to_paste_and_changes_nothing(example: Path) -> None:
    data = convert(config=str(example))
    assert data["rules"] == ["Auto created rule for ISAKMP - LAN to WAN", "Auto created rule - LAN to WAN"]
    text = render_convert(data)
    assert 'set mode = "manual"' in text.splitlines()[0]
    assert len(tomllib.loads(text)["outbound_nat"]["rule"]) == 2
    assert example.read_text() == EXAMPLE


def test_converting_with_write_leaves_a_file_that_is_right_and_does_the_same(example: Path) -> None:
    before = files.load(EXAMPLE, example)
    data = convert(config=str(example), write=True)
    after = files.load(example.read_text(), example)
    assert 'mode = "manual"   # as the book begins' in example.read_text()
    assert fragment(before).counters == fragment(after).counters
    assert [check.name for check in checks(after)] == [check.name for check in checks(before)]
    told = render_convert(data)
    assert "mode manual, 2 rules added:" in told
    assert f"appliance check -c {example}" in told


@pytest.mark.parametrize("mode", ["manual", "disabled"])
def test_a_mode_without_automatic_rules_is_refused(example: Path, mode: str) -> None:
    example.write_text(EXAMPLE.replace("automatic", mode))
    with pytest.raises(RefusedError, match=f"is in the mode {mode}, which has no automatic rules"):
        convert(config=str(example), write=True)


def test_a_file_with_problems_is_refused_with_all_of_them(example: Path) -> None:
    example.write_text(EXAMPLE + '[[outbound_nat.rule]]\ninterface = "wan"\ntranslation = "vip:x"\n')
    with pytest.raises(ConfigError, match="there is no virtual host 'x'"):
        convert(config=str(example), write=True)


def test_the_words_of_the_command_line() -> None:
    grammar = Grammar(COMMANDS)
    assert grammar.parse(["show", "nat"]).command.run is show_nat
    parsed = grammar.parse(["nat", "convert", "-c", "a.toml", "--write"])
    assert parsed.arguments == {"config": "a.toml", "write": True}
    assert parsed.command.run is convert


def test_without_a_file_the_node_s_own_is_meant() -> None:
    assert Grammar(COMMANDS).parse(["nat", "convert"]).arguments["config"] == "/etc/appliance/appliance.toml"
