"""Whatever is rehearsed is put back: when told, when its time is over, and when the node dies meanwhile."""

from __future__ import annotations

import contextlib
from pathlib import Path
from random import Random

import pytest
import trio

from appliance.errors import ApplianceError, RefusedError
from appliance.events import Alarm, Health, Status
from appliance.testing import RunningNode
from appliance_drill.events import Begin, End
from appliance_drill.stage import JOURNAL, PUT_BACK_S, RETRY_S
from tests.unit.plugins.drill.scenes import Run, World, staged

STEPS = ("switchover", "maintenance", "disable", "unplug-wan")


def begin(name: str, seconds: float = 30) -> Begin:
    return Begin(name=name, device="wan0" if name.startswith("unplug") else "", seconds=seconds)


def journals(state_dir: Path) -> list[Path]:
    return list(state_dir.rglob(JOURNAL))


def health(node: RunningNode) -> Health:
    (status,) = node.retained(Status)
    return status.health


@pytest.mark.parametrize("name", STEPS)
async def test_it_happens_and_is_put_back_when_told(
    run_service: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    world = World()
    async with staged(run_service, monkeypatch, world, tmp_path) as node:
        begun = await node.call(begin(name))
        assert begun["rehearsal"] == name
        assert not world.is_as_it_was
        assert (len(journals(tmp_path)), health(node)) == (1, Health.WARN)
        assert (await node.call(End(at_once=True)))["result"] == "it is put back"
        assert world.is_as_it_was
        assert (journals(tmp_path), health(node)) == ([], Health.OK)


@pytest.mark.parametrize("name", STEPS)
async def test_it_is_put_back_when_its_time_is_over(
    run_service: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, autojump_clock: object, name: str
) -> None:
    world = World()
    async with staged(run_service, monkeypatch, world, tmp_path) as node:
        begun = trio.current_time()
        await node.call(begin(name, 30))
        await node.call(End())
        assert world.is_as_it_was
        assert trio.current_time() - begun == pytest.approx(30, abs=0.1)
        assert node.log("rehearsal_ran_out")[0]["rehearsal"] == name


@pytest.mark.parametrize("name", STEPS)
async def test_a_node_that_died_puts_back_at_its_next_start(
    run_service: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, autojump_clock: object, name: str
) -> None:
    world = World()
    async with staged(run_service, monkeypatch, world, tmp_path) as node:
        await node.call(begin(name))
        (journal,) = journals(tmp_path)
        left = journal.read_text()
        await node.call(End(at_once=True))
    world.resigned, world.maintenance, world.enabled, world.down = True, True, False, {"wan0"}
    journal.write_text(left)
    async with staged(run_service, monkeypatch, world, tmp_path) as node:
        await node.call(End(at_once=True))
        assert journals(tmp_path) == []
        assert node.log("rehearsal_interrupted")[0]["rehearsal"] == name
        done = {
            "switchover": not world.resigned,
            "maintenance": not world.maintenance,
            "disable": world.enabled,
            "unplug-wan": not world.down,
        }
        assert [each for each, is_back in done.items() if is_back] == [name], "and nothing else is touched"


@pytest.mark.parametrize("name", STEPS)
async def test_what_fails_to_happen_is_put_back(
    run_service: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, autojump_clock: object, name: str
) -> None:
    world = World(fails=["nobody would take over"])
    async with staged(run_service, monkeypatch, world, tmp_path) as node:
        with pytest.raises(ApplianceError, match="nobody would take over"):
            await node.call(begin(name))
        await node.call(End(at_once=True))
        assert world.is_as_it_was
        assert journals(tmp_path) == []


async def test_a_caller_that_vanishes_in_the_middle_of_it_leaves_nothing(
    run_service: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, autojump_clock: object
) -> None:
    world = World()

    async def slow(device: str, up: bool) -> None:
        if not up:
            world.down.add(device)
            await trio.sleep(5)
        await World.set_link(world, device, up)

    monkeypatch.setattr(world, "set_link", slow)
    async with staged(run_service, monkeypatch, world, tmp_path) as node:
        begun = trio.current_time()
        with trio.move_on_after(1):
            await node.call(begin("unplug-wan"))
        assert world.down == {"wan0"}
        await node.call(End())
        assert world.is_as_it_was
        assert trio.current_time() - begun < 5, "at once, and not when its time is over"


async def test_one_at_a_time(run_service: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    world = World()
    async with staged(run_service, monkeypatch, world, tmp_path) as node:
        await node.call(begin("disable"))
        with pytest.raises(RefusedError, match="disable is being rehearsed"):
            await node.call(begin("unplug-wan"))
        await node.call(End(at_once=True))
        assert (await node.call(End()))["rehearsal"] is None


async def test_what_cannot_be_put_back_is_an_alarm_and_is_tried_on_and_on(
    run_service: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, autojump_clock: object
) -> None:
    world = World()
    tries = int(PUT_BACK_S / RETRY_S) + 5
    async with staged(run_service, monkeypatch, world, tmp_path) as node:
        await node.call(begin("unplug-wan"))
        world.fails = ["no buffer space"] * tries
        with pytest.raises(ApplianceError, match="could not be put back yet"):
            await node.call(End(at_once=True))
        (alarm,) = node.retained(Alarm)
        assert (alarm.active, alarm.health) == (True, Health.FAIL)
        assert "no buffer space" in alarm.what
        assert "ip link set wan0 up" in alarm.fix
        await trio.sleep(tries * RETRY_S)
        assert world.is_as_it_was
        assert [each.active for each in node.events(Alarm)] == [True, False]


async def test_a_broken_journal_is_told_and_forgotten(
    run_service: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with staged(run_service, monkeypatch, World(), tmp_path) as node:
        await node.call(begin("disable"))
        (journal,) = journals(tmp_path)
        await node.call(End(at_once=True))
    journal.write_text("{")
    async with staged(run_service, monkeypatch, World(), tmp_path) as node:
        assert node.log("rehearsal_forgotten")[0]["file"] == str(journal)
        assert journals(tmp_path) == []
        assert (await node.call(End()))["rehearsal"] is None


async def dies(node: RunningNode, world: World, chance: Random) -> None:
    """Something is rehearsed, and at some moment the caller goes away, or nobody does."""
    world.takes_s = chance.uniform(0, 3)
    with trio.move_on_after(chance.uniform(0, 12)):
        await node.call(begin(chance.choice(STEPS), chance.uniform(1, 8)))
        if chance.random() < 0.5:
            await node.call(End())
        await trio.sleep(chance.uniform(0, 4))


@pytest.mark.parametrize("seed", range(40))
async def test_whoever_dies_at_whatever_moment_everything_is_put_back(
    run_service: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, autojump_clock: object, seed: int
) -> None:
    chance, world = Random(seed), World()
    for _ in range(3):  # each time the node goes away in the middle of it, too, and starts again
        async with staged(run_service, monkeypatch, world, tmp_path) as node:
            if chance.random() < 0.5:
                await trio.sleep(chance.uniform(0, 2))
            with contextlib.suppress(RefusedError):  # the last one is being put back still
                await dies(node, world, chance)
    world.takes_s = 0.0
    async with staged(run_service, monkeypatch, world, tmp_path) as node:
        await trio.sleep(1)
        await node.call(End(at_once=True))
        assert world.is_as_it_was
        assert journals(tmp_path) == []
