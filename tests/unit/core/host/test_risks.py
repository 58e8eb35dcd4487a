"""A change that may cut off whoever makes it is for good only after a confirmation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest
import trio
import trio.testing

from appliance.config import Config, LogicalInterface, Model, Traffic
from appliance.config.loader import load
from appliance.config.types import Network
from appliance.errors import ConfigError, Problem
from appliance.host.appliance import Appliance
from appliance.host.discovery import Found
from appliance.host.risks import ways_lost
from appliance.plugin import ConfigTable, hookimpl
from appliance_interfaces.config import InterfacesConfig


class Table(Model):
    """``[alpha]``."""

    port: int = 1
    word: str = ""


class Alpha:
    """Wants a new port to be confirmed."""

    api = (1, 0)

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(name="alpha", model=Table, summary="x")

    @hookimpl
    def appliance_verify(self, config: Config, old: Config | None) -> list[Problem]:
        before = old.get(Table) if old is not None else None
        if before is None or before.port == config[Table].port:
            return []
        return [Problem(path=("alpha", "port"), message=f"port {before.port} goes away", severity="confirm")]


def text(port: int, word: str = "") -> str:
    return f'[node]\nname = "fw1"\n[alpha]\nport = {port}\nword = "{word}"\n'


def run(tmp: Path, work: Callable[[Appliance], Awaitable[None]]) -> None:
    found = [Found(name="alpha", distribution="test", factory=Alpha)]
    path, state = tmp / "a.toml", tmp / "state"

    async def main() -> None:
        node = Appliance(config_path=path, state_dir=state, socket=None, found=found, text=text(1))
        async with trio.open_nursery() as nursery:
            await nursery.start(node.run)
            await work(node)
            node.request_stop("the test is over")

    trio.run(main)


def port(node: Appliance) -> int:
    return node.reloader.config[Table].port


def test_it_is_refused_with_the_place_the_reason_and_the_remedy(tmp_path: Path) -> None:
    async def work(node: Appliance) -> None:
        with pytest.raises(ConfigError) as refused:
            await node.reloader.apply(text(2), comment="c", who="w")
        assert refused.value.message == f"{tmp_path / 'a.toml'}:4:1: alpha.port: port 1 goes away\n     4 | port = 2"
        assert "Nothing has been changed" in refused.value.hint
        assert "'appliance config reload --confirm 120'" in refused.value.hint
        assert port(node) == 1
        await node.reloader.apply(text(1, "other"), comment="what is no risk", who="w")

    run(tmp_path, work)


def test_a_change_that_goes_away_by_itself_is_accepted_with_a_warning(tmp_path: Path) -> None:
    async def work(node: Appliance) -> None:
        (warning,) = await node.reloader.check(text(2))
        report = await node.reloader.apply(text(2), comment="c", who="w", confirm_within_s=60)
        assert report.warnings == (warning,)
        assert "port 1 goes away" in warning
        await node.reloader.confirm(who="w")
        assert port(node) == 2

    run(tmp_path, work)


def test_going_back_before_the_confirmation_is_no_risk(tmp_path: Path) -> None:
    async def work(node: Appliance) -> None:
        await node.reloader.apply(text(2), comment="c", who="w", confirm_within_s=60)
        await node.reloader.rollback(1, who="w")
        assert port(node) == 1
        assert node.reloader.unconfirmed_s is None

    run(tmp_path, work)


def test_a_rollback_is_a_change_like_others(tmp_path: Path) -> None:
    async def work(node: Appliance) -> None:
        await node.reloader.apply(text(2), comment="c", who="w", confirm_within_s=60)
        await node.reloader.confirm(who="w")
        with pytest.raises(ConfigError, match="port 2 goes away"):
            await node.reloader.rollback(1, who="w")

    run(tmp_path, work)


# --- ways in ---------------------------------------------------------------------------------------------------

BEFORE = """
[node]
name = "fw1"
[interfaces.lan]
device = "eth1"
addresses = ["192.168.1.2/24", "192.168.9.2/24"]
[interfaces.sync]
device = "eth2"
addresses = ["172.16.1.2/24"]
[door]
at = ["lan", "sync"]
"""


class Door(Model):
    """``[door]``: something to come in by."""

    at: list[str]
    port: int = 22
    allow: list[Network] = []

    def own_traffic(self, interfaces: Mapping[str, LogicalInterface]) -> tuple[Traffic, ...]:
        return tuple(
            Traffic(
                name="door", interface=name, protocol="tcp", port=self.port, sources=tuple(self.allow), is_way_in=True
            )
            for name in self.at
        )


TABLES = {
    "door": ConfigTable(name="door", model=Door, summary="x"),
    "interfaces": ConfigTable(name="interfaces", model=InterfacesConfig, summary="x"),
}


def lost(text: str, before: str = BEFORE) -> list[tuple[str, str]]:
    problems = ways_lost(load(before, path="x", tables=TABLES), load(text, path="x", tables=TABLES))
    assert {problem.severity for problem in problems} <= {"confirm"}
    return [(".".join(map(str, problem.path)), problem.message.partition(":")[0]) for problem in problems]


@pytest.mark.parametrize(
    ("old", "new", "place", "what"),
    [
        ('at = ["lan", "sync"]', 'at = ["sync"]', "door", "door (tcp port 22) at lan goes"),
        (', "192.168.9.2/24"', "", "interfaces.lan", "door (tcp port 22) at lan loses 192.168.9.2"),
        ("eth1", "eth7", "interfaces.lan", "door (tcp port 22) at lan moves from device eth1 to eth7"),
        ("[interfaces.lan]", "[interfaces.lun]", "door", "door (tcp port 22) at lan goes"),
    ],
)
def test_a_way_in_that_ends_is_named_with_its_place(old: str, new: str, place: str, what: str) -> None:
    assert lost(BEFORE.replace(old, new)) == [(place, what)]


def test_all_ways_of_a_table_go_with_it() -> None:
    gone = BEFORE.partition("[door]")[0]
    assert [place for place, _ in lost(gone)] == ["door", "door"]
    assert lost(BEFORE, gone) == []


def test_who_is_shut_out_is_named() -> None:
    both = BEFORE + 'allow = ["10.0.0.0/8", "192.168.1.0/24"]\n'
    ((_, lan), (_, sync)) = lost(BEFORE + 'allow = ["10.0.0.0/8"]\n', both)
    assert lan == "door (tcp port 22) at lan is closed to 192.168.1.0/24"
    assert sync.startswith("door (tcp port 22) at sync")
    assert all(what.endswith("is closed to all but a few addresses") for _, what in lost(both))
    assert lost(BEFORE, both) == []


def test_what_leaves_every_way_open_needs_nothing() -> None:
    more = BEFORE.replace('"192.168.1.2/24"', '"192.168.1.2/24", "10.0.0.1/8"').replace('"lan"', '"lan", "absent"')
    assert lost(more) == []
