"""What happens to the ruleset of a node in a network namespace of its own; each runs in a process of its own.

A process, because trio starts `nft` from threads, which do not follow a namespace entered by a test's thread.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from appliance.config import Config, Model
from appliance.errors import ApplianceError
from appliance.events import Alarm, Demotion, GetCounters, GetRuleset, RulesetLoaded
from appliance.host.appliance import Appliance
from appliance.host.discovery import Found
from appliance.plugin import ConfigTable, Fragment, Hook, Hooked, Rule, Set, Stage, hookimpl

FIRST = ["counter name raw_hits accept", "ip saddr @raw_hosts drop"]
WAIT_S = 5.0


class RawTable(Model):
    """``[raw]``: rules as they are."""

    rules: list[str] = []
    hosts: list[str] = []


class Raw:
    """Contributes what its table says."""

    api = (1, 0)

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(name="raw", model=RawTable, summary="x")

    @hookimpl
    def appliance_ruleset(self, config: Config) -> Fragment:
        table = config[RawTable]
        rules = tuple(Rule(text=text, origin=("raw", "rules", at)) for at, text in enumerate(table.rules))
        return Fragment(
            hooked=(Hooked(hook=Hook.OUTPUT, stage=Stage.USER, rules=rules),),
            sets=(
                Set(name="raw_hosts", key="ipv4_addr", elements=tuple(table.hosts)),
                Set(name="raw_kept", key="mark", value="mark", kept=True),
            ),
            counters=("raw_hits",),
        )


def toml(rules: list[str], hosts: list[str] | None = None) -> str:
    listed = "".join(f"  {json.dumps(rule)},\n" for rule in rules)
    return f'[node]\nname = "fw1"\n\n[raw]\nhosts = {json.dumps(hosts or [])}\nrules = [\n{listed}]\n'


def nft(*words: str) -> str:
    return subprocess.run(["nft", *words], capture_output=True, text=True, check=True).stdout


def ping() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ping", "-c1", "-W1", "127.0.0.1"], capture_output=True, check=False)


@asynccontextmanager
async def node(text: str) -> AsyncIterator[Appliance]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "appliance.toml"
        file.write_text(text)
        found = [Found(name="raw", distribution="test", factory=Raw)]
        appliance = Appliance(config_path=file, state_dir=Path(folder) / "state", socket=None, found=found)
        async with trio.open_nursery() as nursery:
            await nursery.start(appliance.run)
            yield appliance
            appliance.request_stop("the test has ended")


async def rules_follow_the_configuration_and_counters_go_on() -> None:
    async with node(toml(FIRST)) as running:
        ping()
        before = (await running.bus.call(GetCounters()))["raw_hits"].packets
        assert before > 0
        nft("add", "element", "inet", "appliance", "raw_kept", "{ 1 : 2 }")
        report = await running.reloader.apply(toml(FIRST[:1], ["192.0.2.7"]), comment="", who="test")
        assert report.services.reloaded == ("node/ruleset",)
        after = (await running.bus.call(GetCounters()))["raw_hits"].packets
        assert after >= before, "named counters survive"
        text = nft("list", "table", "inet", "appliance")
        assert "192.0.2.7" in text
        assert "drop" not in text
        assert "0x00000001 : 0x00000002" in text, "what a service filled stays"
        assert "counter name raw_hits accept" in await running.bus.call(GetRuleset())
    assert "raw_hits" in nft("list", "ruleset"), "an orderly stop of the node leaves its rules"


async def a_refused_rule_is_named_by_its_line_and_the_old_rules_stay() -> None:
    async with node(toml(FIRST)) as running:
        before = nft("list", "ruleset")
        with pytest.raises(ApplianceError) as refusal:
            await running.reloader.apply(toml([*FIRST, "jump to_nowhere"]), comment="", who="test")
        message = refusal.value.message
        assert ":9:3: raw.rules[2]: nftables refuses what follows from this: Could not process rule" in message, message
        assert '9 |   "jump to_nowhere"' in message, message
        assert nft("list", "ruleset") == before


async def sets_with_ranges_come_before_the_rules_that_use_them() -> None:
    async with node(toml(FIRST)) as running:
        ranges = "tcp dport { 22, 1000-2000 } counter name raw_hits accept"
        await running.reloader.apply(toml([*FIRST, ranges]), comment="", who="test")
        text = nft("list", "table", "inet", "appliance")
        assert "elements = { 22, 1000-2000 }" in text, text
        overlap = toml([*FIRST, ranges, "ip saddr { 10.0.0.0/8, 10.1.0.0/16 } drop"])
        with pytest.raises(ApplianceError, match=r":10:3: raw.rules\[3\]"):
            await running.reloader.apply(overlap, comment="", who="test")
        lost = toml([*FIRST, ranges, "ip saddr { 10.0.0.0/8, 192.0.2.1 } drop", "jump to_nowhere"])
        with pytest.raises(ApplianceError, match=r":11:3: raw.rules\[4\]"):
            await running.reloader.apply(lost, comment="", who="test")
        assert nft("list", "table", "inet", "appliance") == text, "not even the sets of a refused change are left"
        await running.reloader.apply(toml([*FIRST, "ip saddr { 10.0.0.0/8, 192.0.2.1 } drop"]), comment="", who="test")
        assert "1000-2000" not in nft("list", "table", "inet", "appliance")


async def rules_that_somebody_flushed_come_back() -> None:
    async with node(toml(FIRST)) as running:
        with running.bus.subscribe(RulesetLoaded, name="test", replay=False) as loads, trio.fail_after(WAIT_S):
            nft("flush", "ruleset")
            event = await loads.receive()
        assert event.generation == 2
        assert "raw_hits" in nft("list", "ruleset")


async def without_valid_rules_at_the_first_start_nothing_is_forwarded() -> None:
    async with node(toml(["jump to_nowhere"])) as running:
        (service,) = running.supervisor.services()
        assert ":7:3: raw.rules[0]" in str(service.error), service
        assert any(isinstance(each.event, Demotion) for each in running.bus.retained(Demotion))
        assert "hook forward priority filter; policy drop;" in nft("list", "ruleset")
        await running.reloader.apply(toml(FIRST), comment="", who="test")
        assert "policy drop" not in nft("list", "ruleset")


async def a_node_whose_table_of_rules_is_refused_at_its_start_is_closed() -> None:
    async with node(toml(FIRST).replace("hosts =", "unheard =")) as running:
        (alarm,) = [each.event for each in running.bus.retained(Alarm) if each.event.key == "ruleset"]
        assert "the configuration of raw was refused" in alarm.what, alarm.what
        assert 'counter name "closed" drop' in nft("list", "chain", "inet", "appliance", "hook_forward")
        assert any(each.event.reason == "ruleset" for each in running.bus.retained(Demotion))
        await running.reloader.apply(toml(FIRST), comment="", who="test")
        assert "closed" not in nft("list", "ruleset")
        assert not any(each.event.weight for each in running.bus.retained(Demotion))
        (alarm,) = [each.event for each in running.bus.retained(Alarm) if each.event.key == "ruleset"]
        assert not alarm.active


async def a_change_whose_first_rules_are_refused_leaves_no_trace() -> None:
    async with node('[node]\nname = "fw1"\n') as running:
        with pytest.raises(ApplianceError, match=r":7:3: raw.rules\[0\]"):
            await running.reloader.apply(toml(["jump to_nowhere"]), comment="", who="test")
        assert nft("list", "ruleset") == ""


async def when_no_plugin_contributes_any_more_the_table_goes() -> None:
    async with node(toml(FIRST)) as running:
        report = await running.reloader.apply('[node]\nname = "fw1"\n', comment="", who="test")
        assert report.services.stopped == ("node/ruleset",)
        assert nft("list", "ruleset") == ""


async def what_an_earlier_process_left_is_replaced() -> None:
    nft("add table inet appliance; add chain inet appliance old; add counter inet appliance old_hits")
    async with node(toml(FIRST)):
        text = nft("list", "ruleset")
        assert "old" not in text
        assert "raw_hits" in text


SCENARIOS = (
    rules_follow_the_configuration_and_counters_go_on,
    a_refused_rule_is_named_by_its_line_and_the_old_rules_stay,
    sets_with_ranges_come_before_the_rules_that_use_them,
    rules_that_somebody_flushed_come_back,
    without_valid_rules_at_the_first_start_nothing_is_forwarded,
    a_node_whose_table_of_rules_is_refused_at_its_start_is_closed,
    a_change_whose_first_rules_are_refused_leaves_no_trace,
    when_no_plugin_contributes_any_more_the_table_goes,
    what_an_earlier_process_left_is_replaced,
)

if __name__ == "__main__":
    trio.run({each.__name__: each for each in SCENARIOS}[sys.argv[1]])
