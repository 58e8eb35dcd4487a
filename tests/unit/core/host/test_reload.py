"""A change of the configuration happens as a whole or not at all, and disturbs only what it changes."""

from __future__ import annotations

import functools
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from appliance.bus import EventBus
from appliance.config import Config, Model
from appliance.config.history import History
from appliance.config.loader import head
from appliance.config.model import NodeTable
from appliance.config.types import Secret
from appliance.errors import ApplianceError, ConfigError, Problem, RefusedError, UsageError
from appliance.events import Alarm, ConfigApplied, ConfigRefused, Event
from appliance.host.discovery import Found
from appliance.host.plugins import Plugins
from appliance.host.reload import ApplyReport, Reloader
from appliance.host.store import ConfigStore
from appliance.host.supervisor import Supervisor
from appliance.logs import logger
from appliance.metrics import MetricsRegistry
from appliance.plugin import ConfigTable, Context, Service, Started, hookimpl

HEAD = '[node]\nname = "fw1"\n'
BASE = HEAD + '[alpha]\nvalue = 1\npassword = "hunter2"\n[beta]\nvalue = 1\n'


class AlphaTable(Model):
    value: int = 0
    password: Secret | None = None


class BetaTable(Model):
    value: int = 0


class Plugin:
    """Runs one service that records its life; value 13 does not start, 14 is refused by verify, 15 has no plan."""

    api = (1, 0)
    name: str
    model: type[Model]

    def __init__(self, life: list[str]) -> None:
        self.life = life

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(name=self.name, model=self.model, summary="x")

    @hookimpl
    def appliance_verify(self, config: Config) -> list[Problem]:
        table = config[self.model]
        if table.value == 14:  # type: ignore[attr-defined]
            return [Problem(path=(self.name, "value"), message="14 is unlucky here")]
        return []

    @hookimpl
    def appliance_services(self, config: Config) -> list[Service]:
        table = config[self.model]
        if table.value == 15:  # type: ignore[attr-defined]
            raise RuntimeError("no plan")
        return [Service(key="main", run=functools.partial(live, self.name, self.life), config=table)]


class Alpha(Plugin):
    name = "alpha"
    model = AlphaTable


class Beta(Plugin):
    name = "beta"
    model = BetaTable


async def live(name: str, life: list[str], ctx: Context, started: Started) -> None:
    value = ctx.config.value  # type: ignore[attr-defined]
    if value == 13:
        raise OSError("no such device")
    life.append(f"{name} starts with {value}")
    started.started()
    await ctx.stopping.wait()
    life.append(f"{name} stops")


class World:
    """A reloader on the real bus, plugins, supervisor and history."""

    def __init__(self, tmp: Path, text: str) -> None:
        self.life: list[str] = []
        self.path = tmp / "appliance.toml"
        self.path.write_text(text)
        self.bus = EventBus(wall=lambda: 1000.0)
        found = [
            Found(name=kind.name, distribution="dist", factory=functools.partial(kind, self.life))
            for kind in (Alpha, Beta)
        ]
        self.plugins = Plugins(found)
        node = Config({}, node=_node_of(text)).identity()
        self.supervisor = Supervisor(self.bus, node=node, state_dir=tmp / "state", metrics=MetricsRegistry())
        self.reloader = Reloader(
            bus=self.bus,
            plugins=self.plugins,
            supervisor=self.supervisor,
            store=ConfigStore(History(tmp / "state" / "h"), self.path, wall=lambda: 1000.0),
            node=node,
            log=logger(),
        )

    def events(self, kind: type[Event]) -> list[Event]:
        return [envelope.event for envelope in self.bus.trace if isinstance(envelope.event, kind)]

    def lived(self) -> list[str]:
        out = list(self.life)
        self.life.clear()
        return out

    async def apply(self, text: str, confirm_within_s: float | None = None) -> ApplyReport:
        return await self.reloader.apply(text, comment="c", who="w", confirm_within_s=confirm_within_s)


def _node_of(text: str) -> NodeTable:
    return head(text, path="x")[0]


@asynccontextmanager
async def world(tmp: Path, text: str = BASE) -> AsyncIterator[World]:
    made = World(tmp, text)
    async with trio.open_nursery() as nursery:
        await nursery.start(made.supervisor.run)
        await nursery.start(made.reloader.run)
        made.reloader.load_first(text, path=str(made.path))
        await made.reloader.begin()
        yield made
        nursery.cancel_scope.cancel()


def run(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def changed(**values: int) -> str:
    text = BASE
    for name, value in values.items():
        text = text.replace(f"[{name}]\nvalue = 1", f"[{name}]\nvalue = {value}")
    return text


def test_a_start_is_revision_one_and_the_same_file_stays_revision_one(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as first:
            assert sorted(first.lived()) == ["alpha starts with 1", "beta starts with 1"]
            assert first.events(ConfigApplied) == [
                ConfigApplied(revision=1, tables=("node", "plugins", "alpha", "beta"), who="node")
            ]
        async with world(tmp_path) as second:
            assert [revision.number for revision in second.reloader.history()] == [1]

    run(main)


def test_a_change_restarts_only_the_service_it_is_about(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            w.lived()
            report = await w.apply(changed(alpha=2))
            assert w.lived() == ["alpha stops", "alpha starts with 2"]
            assert (report.revision, report.changed, report.tables) == (2, True, ("alpha",))
            assert report.services.restarted == ("alpha/main",)
            assert report.services.unchanged == ("beta/main",)
            assert w.path.read_text() == changed(alpha=2)
            assert w.events(ConfigApplied)[-1] == ConfigApplied(revision=2, tables=("alpha",), who="w")
            assert [(r.who, r.comment) for r in w.reloader.history()] == [("node", "found at start"), ("w", "c")]

    run(main)


def test_the_same_text_touches_nothing_and_makes_no_revision(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            w.lived()
            report = await w.apply(BASE)
            again = await w.reloader.reload_file()
            assert (report.changed, again.changed, report.revision) == (False, False, 1)
            assert report.services.unchanged == ("alpha/main", "beta/main")
            assert w.lived() == []
            assert len(w.events(ConfigApplied)) == 1

    run(main)


def test_a_new_comment_is_kept_but_disturbs_no_service(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            w.lived()
            report = await w.apply("# why\n" + BASE)
            assert (report.revision, report.tables, w.lived()) == (2, (), [])
            assert w.reloader.config.text.startswith("# why")

    run(main)


def test_tables_that_come_and_go_start_and_stop_their_services(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            w.lived()
            await w.apply(HEAD + "[beta]\nvalue = 1\n")
            assert w.lived() == ["alpha stops"]
            assert [entry.enabled for entry in w.plugins.entries] == [False, True]
            await w.apply(BASE)
            assert w.lived() == ["alpha starts with 1"]

    run(main)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (changed(alpha=14), ":4:1: alpha.value: 14 is unlucky here\n     4 | value = 14"),
        (BASE + "x = 1\n", ":8:1: beta.x: unknown key; known here: value"),
        (BASE + "[gamma]\n", ":8:1: gamma: no installed plugin owns this table"),
        ("a = b\n", ":1:5: this is not a value"),
        (BASE.replace("fw1", "fw2"), ":2:1: node.name: a running node cannot change this"),
        (BASE + '[plugins]\nblocked = ["beta"]\n', ":9:1: plugins.blocked: a running node cannot change this"),
    ],
)
def test_a_wrong_text_is_refused_with_its_line_and_nothing_happens(tmp_path: Path, text: str, expected: str) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            w.lived()
            w.path.write_text(text)
            with pytest.raises(ConfigError) as caught:
                await w.reloader.reload_file()
            assert f"{w.path}{expected}" in caught.value.message
            assert w.lived() == []
            assert w.reloader.config.text == BASE
            assert w.path.read_text() == text  # the operator's work is left to correct
            assert [event.reason for event in w.events(ConfigRefused)] == [caught.value.message]  # type: ignore[attr-defined]
            assert len(w.reloader.history()) == 1
            assert all(entry.enabled for entry in w.plugins.entries)

    run(main)


def test_a_service_that_does_not_start_rolls_the_whole_change_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            w.lived()
            with pytest.raises(ApplianceError, match="no such device"):
                await w.apply(changed(alpha=2, beta=13))
            # Both start at once, so alpha may have run with 2 for a moment; in the end all is as before.
            life = w.lived()
            assert [line for line in life if line.startswith("alpha")][-1] == "alpha starts with 1"
            assert [line for line in life if line.startswith("beta")][-1] == "beta starts with 1"
            assert [str(report.state) for report in w.supervisor.services()] == ["running", "running"]
            assert (w.reloader.config.text, w.path.read_text(), w.reloader.revision) == (BASE, BASE, 1)
            assert len(w.events(ConfigRefused)) == 1
            assert (await w.apply(changed(alpha=2))).revision == 2

    run(main)


def test_a_plugin_that_cannot_name_its_services_refuses_the_change(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            w.lived()
            with pytest.raises(ApplianceError, match="no plan"):
                await w.apply(changed(alpha=2, beta=15))
            assert w.lived() == []

    run(main)


def test_a_history_that_cannot_be_written_rolls_the_change_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            w.lived()

            def full(*_: object, **__: object) -> None:
                raise ApplianceError("the disk is full", hint="make room")

            monkeypatch.setattr(History, "append", full)
            with pytest.raises(ApplianceError, match="the disk is full"):
                await w.apply(changed(alpha=2))
            assert w.lived() == ["alpha stops", "alpha starts with 2", "alpha stops", "alpha starts with 1"]
            assert w.path.read_text() == BASE

    run(main)


def test_a_defect_on_the_way_rolls_the_change_back_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_thread(text: str, *, comment: str, who: str) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        async with world(tmp_path) as w:
            w.lived()
            monkeypatch.setattr(w.reloader._store, "record", no_thread)
            with pytest.raises(RuntimeError, match="new thread"):
                await w.apply(changed(alpha=2))
            assert w.lived()[-2:] == ["alpha stops", "alpha starts with 1"]
            assert w.reloader.config.text == w.path.read_text() == BASE

    run(main)


@pytest.mark.parametrize("confirm_within_s", [None, 10])
def test_edits_of_the_file_that_a_change_of_another_replaces_are_kept(
    tmp_path: Path, confirm_within_s: float | None
) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            copy = w.path.with_name(w.path.name + ".edited")
            w.path.chmod(0o640)
            await w.apply(changed(alpha=2))
            assert not copy.exists()
            edit = changed(alpha=2) + "# half of an ed"
            w.path.write_text(edit)
            await w.apply(changed(alpha=3), confirm_within_s)
            assert (copy.read_text(), stat.S_IMODE(copy.stat().st_mode)) == (edit, 0o640)
            if confirm_within_s is not None:
                w.path.write_text("while it waits")
                await w.reloader.confirm(who="w")
                assert copy.read_text() == "while it waits"
            assert w.path.read_text() == changed(alpha=3)

    run(main)


def test_a_caller_that_goes_away_does_not_leave_half_a_change(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            w.lived()

            async def impatient() -> None:
                with trio.CancelScope() as hurry:
                    nursery.start_soon(cancel_soon, hurry)
                    await w.apply(changed(alpha=3))

            async def cancel_soon(hurry: trio.CancelScope) -> None:
                while not w.life:  # the change is under way
                    await trio.lowlevel.checkpoint()
                hurry.cancel()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(impatient)
            assert w.lived() == ["alpha stops", "alpha starts with 3"]
            assert w.reloader.revision == 2

    run(main)


def test_two_changes_at_once_happen_one_after_the_other(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            w.lived()
            async with trio.open_nursery() as nursery:
                for value in (2, 3, 4):
                    nursery.start_soon(w.apply, changed(alpha=value))
            assert len([line for line in w.lived() if "starts" in line]) == 3
            assert w.reloader.revision == 4
            assert w.reloader.config.text == w.path.read_text()

    run(main)


def test_a_check_during_a_change_does_not_disable_what_the_change_enables(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path, BASE.partition("[beta]")[0]) as w:
            w.lived()

            async def check() -> None:
                while not w.life:  # the change is under way
                    await trio.lowlevel.checkpoint()
                await w.reloader.check(BASE)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(check)
                await w.apply(BASE)
            assert [entry.name for entry in w.plugins.entries if entry.enabled] == ["alpha", "beta"]

    run(main)


def test_a_text_made_from_an_older_configuration_does_not_undo_a_change_in_between(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            base = w.reloader.config
            await w.apply(changed(alpha=2))
            with pytest.raises(RefusedError, match="changed meanwhile"):
                await w.reloader.apply(changed(beta=2), comment="c", who="w", base=base)
            assert w.reloader.config.text == w.path.read_text() == changed(alpha=2)
            await w.reloader.apply(changed(beta=2), comment="c", who="w", base=w.reloader.config)

    run(main)


def test_an_unconfirmed_change_rolls_back_by_itself(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            w.lived()
            report = await w.apply(changed(alpha=2), confirm_within_s=60)
            assert report.confirm_within_s == 60
            assert w.path.read_text() == BASE  # a reboot would end it as well
            assert w.reloader.unconfirmed_s == 60
            await trio.sleep(59)
            assert w.lived() == ["alpha stops", "alpha starts with 2"]
            await trio.sleep(2)
            assert w.lived() == ["alpha stops", "alpha starts with 1"]
            assert w.reloader.config.text == BASE
            assert w.reloader.unconfirmed_s is None
            assert [r.comment for r in w.reloader.history()][-1] == "revision 2 was not confirmed within 60 s"
            assert w.events(ConfigApplied)[-1] == ConfigApplied(revision=3, tables=("alpha",), who="node")

    run(main)


def test_a_confirmed_change_stays(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            await w.apply(changed(alpha=2), confirm_within_s=60)
            await trio.sleep(30)
            report = await w.reloader.confirm(who="w")
            assert (report.revision, w.path.read_text()) == (2, changed(alpha=2))
            await trio.sleep(120)
            assert (w.reloader.revision, w.reloader.config.text) == (2, changed(alpha=2))
            with pytest.raises(RefusedError, match="no change waits"):
                await w.reloader.confirm(who="w")

    run(main)


def test_while_a_change_waits_only_confirming_and_rolling_back_are_possible(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            await w.apply(changed(alpha=2), confirm_within_s=60)
            with pytest.raises(RefusedError, match="waits to be confirmed"):
                await w.apply(changed(alpha=3))
            with pytest.raises(RefusedError, match="waits to be confirmed"):
                await w.reloader.reload_file()
            report = await w.reloader.rollback(1, who="w")
            assert (report.revision, w.reloader.config.text) == (3, BASE)
            await trio.sleep(120)
            assert w.reloader.revision == 3

    run(main)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 4000.0, float("nan")])
def test_an_absurd_time_to_confirm_is_refused(tmp_path: Path, seconds: float) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            with pytest.raises(UsageError, match="no time to confirm"):
                await w.apply(changed(alpha=2), confirm_within_s=seconds)
            assert w.reloader.revision == 1

    run(main)


def test_a_rollback_brings_an_old_revision_back_and_is_a_new_one(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            await w.apply(changed(alpha=2))
            w.lived()
            report = await w.reloader.rollback(1, who="w")
            assert (report.revision, w.lived()) == (3, ["alpha stops", "alpha starts with 1"])
            assert w.path.read_text() == BASE
            assert w.reloader.history()[-1].comment == "rollback to revision 1"
            with pytest.raises(RefusedError, match="no revision 99"):
                await w.reloader.rollback(99, who="w")

    run(main)


def test_diffs_and_the_shown_text_hide_secrets(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            assert "hunter2" not in w.reloader.shown()
            assert 'password = "**********"' in w.reloader.shown()
            assert w.reloader.diff() == ""
            await w.apply(changed(beta=2).replace("hunter2", "hunter3"))
            diff = w.reloader.diff(1)
            assert diff.split("\n")[:2] == ["--- revision 1", "+++ revision 2 (in force)"]
            assert "+value = 2" in diff
            assert '+password = "********** (new)"' in diff
            assert "hunter" not in diff
            w.path.write_text(BASE)
            assert w.reloader.diff() == w.reloader.diff(2, 1).replace("revision 2", "revision 2 (in force)").replace(
                "+++ revision 1", f"+++ {w.path}"
            )
            w.path.write_text("x =")
            with pytest.raises(ConfigError):
                w.reloader.diff()

    run(main)


def test_a_start_with_a_wrong_table_runs_the_rest_and_a_corrected_file_repairs_it(tmp_path: Path) -> None:
    async def main() -> None:
        wrong = changed(beta=14)
        async with world(tmp_path, wrong) as w:
            assert w.lived() == ["alpha starts with 1"]
            assert [str(entry.state) for entry in w.plugins.entries] == ["loaded", "refused"]
            (alarm,) = w.events(Alarm)
            assert "14 is unlucky here" in alarm.what  # type: ignore[attr-defined]
            assert "dist" in alarm.what  # type: ignore[attr-defined]
            with pytest.raises(ConfigError, match="14 is unlucky"):
                await w.reloader.reload_file()  # the same text is still wrong
            assert w.lived() == []
            assert [str(entry.state) for entry in w.plugins.entries] == ["loaded", "refused"]
            await w.apply(BASE)
            assert w.lived() == ["beta starts with 1"]
            assert [str(entry.state) for entry in w.plugins.entries] == ["loaded", "loaded"]
            assert [event.active for event in w.events(Alarm)] == [True, False]  # type: ignore[attr-defined]

    run(main)


def test_a_service_that_does_not_come_up_at_start_does_not_stop_the_others(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path, changed(beta=13)) as w:
            assert w.lived() == ["alpha starts with 1"]
            assert w.reloader.revision == 1
            await w.apply(BASE)
            assert w.lived() == ["beta starts with 1"]

    run(main)


def test_a_rewritten_file_keeps_its_mode_and_its_link(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            real = tmp_path / "real.toml"
            w.path.rename(real)
            real.chmod(0o640)
            w.path.symlink_to(real)
            await w.apply(changed(alpha=2))
            assert w.path.is_symlink()
            assert real.read_text() == changed(alpha=2)
            assert stat.S_IMODE(real.stat().st_mode) == 0o640

    run(main)


def test_a_stopping_node_accepts_no_change(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            w.reloader.close("signal SIGTERM")
            with pytest.raises(RefusedError, match="the node is stopping: signal SIGTERM"):
                await w.apply(changed(alpha=2))

    run(main)


def test_a_file_that_vanished_refuses_the_reload(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            w.path.unlink()
            with pytest.raises(ConfigError, match="no such configuration file"):
                await w.reloader.reload_file()
            assert len(w.events(ConfigRefused)) == 1

    run(main)


def test_a_change_that_never_ends_is_an_error_and_not_a_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(*_: object, **__: object) -> None:
        await trio.sleep_forever()

    async def main() -> None:
        async with world(tmp_path) as w:
            monkeypatch.setattr(ConfigStore, "write", hangs)
            with pytest.raises(ApplianceError, match="did not end within 360 s") as error:
                await w.apply(changed(alpha=2))
            assert "appliance show services" in error.value.hint

    run(main)
