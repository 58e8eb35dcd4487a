"""An upgrade whose plugin has another format, and the way back. DRIVEN_BY: `loading`, `store` and `reload` together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tomli
import trio

from appliance.bus import EventBus
from appliance.config import Config, Model
from appliance.config.history import History
from appliance.config.loader import head
from appliance.errors import ConfigError
from appliance.host.discovery import Found
from appliance.host.loading import ConfigLoader
from appliance.host.plugins import Plugins
from appliance.host.reload import Reloader
from appliance.host.store import ConfigStore
from appliance.host.supervisor import Supervisor
from appliance.logs import logger
from appliance.metrics import MetricsRegistry
from appliance.plugin import ConfigTable, Migration, hookimpl

OLD = '[node]\nname = "fw1"\n[door]\nopen = "yes"\n'


class OldTable(Model):
    open: str


class NewTable(Model):
    is_open: bool


class Before:
    api = (1, 0)

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(name="door", model=OldTable, summary="x")


class After:
    api = (1, 0)

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(name="door", model=NewTable, summary="x")

    @hookimpl
    def appliance_migrations(self) -> list[Migration]:
        def migrate(table: Mapping[str, Any]) -> Mapping[str, Any]:
            return {"is_open": table["open"] == "yes"}

        return [Migration(from_version=1, to_version=2, migrate=migrate)]


def plugins(system: type[Before | After]) -> Plugins:
    return Plugins([Found(name="door", distribution="doors", factory=system)])


def boot(folder: Path, system: type[Before | After], *, commit: str = "") -> Config:
    """Start this system on the disk in `folder`, perhaps change the configuration, and stop."""
    path = folder / "appliance.toml"
    text, bus, installed = path.read_text(), EventBus(), plugins(system)
    node = Config({}, node=head(text, path="x")[0]).identity()
    supervisor = Supervisor(bus, node=node, state_dir=folder / "state", metrics=MetricsRegistry())
    store = ConfigStore(History(folder / "state" / "h"), path)
    reloader = Reloader(bus=bus, plugins=installed, supervisor=supervisor, store=store, node=node, log=logger())

    reloader.load_first(text, path=str(path))

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            await nursery.start(reloader.run)
            await reloader.begin()
            if commit:
                await reloader.apply(commit, comment="c", who="w")
            nursery.cancel_scope.cancel()

    trio.run(main)
    return reloader.config


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    (tmp_path / "appliance.toml").write_text(OLD)
    return tmp_path


def test_an_upgrade_reads_the_old_file_and_leaves_it_for_the_way_back(disk: Path) -> None:
    boot(disk, Before)
    assert boot(disk, After)[NewTable].is_open is True
    assert (disk / "appliance.toml").read_text() == OLD
    assert boot(disk, Before)[OldTable].open == "yes"


def test_after_a_commit_of_the_new_system_the_old_one_goes_on_with_what_it_had(disk: Path) -> None:
    boot(disk, After, commit='[node]\nname = "fw1"\nformats = { door = 2 }\n[door]\nis_open = false\n')
    written = (disk / "appliance.toml").read_text()
    assert tomli.loads(written)["node"]["formats"] == {"door": 2}
    assert boot(disk, Before)[OldTable].open == "yes"
    assert (disk / "appliance.toml").read_text() == written, "the new system finds its own file again"
    assert boot(disk, After)[NewTable].is_open is False


def test_starting_again_and_again_makes_no_more_revisions(disk: Path) -> None:
    for _ in range(3):
        boot(disk, After)
    texts = [History(disk / "state" / "h").read(each.number)[1] for each in History(disk / "state" / "h").revisions()]
    assert texts[0] == OLD
    assert len(texts) == 2


def test_a_newer_file_without_anything_older_stops_the_start(disk: Path) -> None:
    (disk / "appliance.toml").write_text('[node]\nname = "fw1"\nformats = { door = 2 }\n[door]\nis_open = false\n')
    with pytest.raises(ConfigError, match="is of format 2, and this system knows 1"):
        boot(disk, Before)


def test_a_candidate_of_an_older_format_is_checked_as_what_it_becomes() -> None:
    loaded = ConfigLoader(plugins(After)).strict(OLD, path="x", old=None)
    assert loaded.config[NewTable].is_open is True
    assert "read as format 2" in loaded.warnings[0]
    with pytest.raises(ConfigError, match="cannot turn it into format 2"):
        ConfigLoader(plugins(After)).strict(OLD.replace("open", "shut"), path="x", old=None)
