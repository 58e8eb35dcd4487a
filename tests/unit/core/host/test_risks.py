"""A change that may cut off whoever makes it is for good only after a confirmation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from appliance.config import Config, Model
from appliance.errors import ConfigError, Problem
from appliance.host.appliance import Appliance
from appliance.host.discovery import Found
from appliance.plugin import ConfigTable, hookimpl


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
