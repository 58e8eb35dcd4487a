"""What the services of a node may ask about its configuration, and how sections of one node get into another."""

from __future__ import annotations

import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import pytest
import trio
import trio.testing

from appliance.config import Config, Model, Scope
from appliance.config.sections import digest
from appliance.errors import ConfigError, Problem, RefusedError
from appliance.events.config import (
    ApplyConfig,
    CompareSections,
    ConfirmConfig,
    GetConfig,
    GetSections,
    Hidden,
    PrepareSections,
    RevertConfig,
    Section,
)
from appliance.host.appliance import Appliance
from appliance.host.discovery import Found
from appliance.plugin import ConfigTable, Mirror, SyncSection, hookimpl


class Table(Model):
    """``[alpha]``."""

    skew: Annotated[int, Scope.MIRRORED] = 0
    own: Annotated[str, Scope.LOCAL] = ""
    word: str = ""
    rule: list[str] = []


class Alpha:
    """A plugin with two sections; one of them is mirrored."""

    api = (1, 0)

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(name="alpha", model=Table, summary="x")

    @hookimpl
    def appliance_verify(self, config: Config) -> list[Problem]:
        wrong = config[Table].word == "wrong"
        return [Problem(path=("alpha", "word"), message="that is the wrong word")] if wrong else []

    @hookimpl
    def appliance_sync_sections(self) -> list[SyncSection]:
        return [
            SyncSection(name="alpha", keys=(("alpha", "skew"), ("alpha", "word"), ("alpha", "own")), outbound=mirrored),
            SyncSection(name="rules", keys=(("alpha", "rule"),)),
        ]


def mirrored(data: Mapping[str, Any], mirror: Mirror) -> Mapping[str, Any]:
    table = dict(data.get("alpha", {}))
    return {"alpha": table | {"skew": table.get("skew", 0) + 100 * mirror.rank}}


FW1 = '[node]\nname = "fw1"\n[alpha]\nskew = 1\nown = "one"\nword = "w"\nrule = ["a"]\n'
FW2 = '[node]\nname = "fw2"\n# mine\n[alpha]\nown = "two"  # here\nrule = ["b"]\n'


@asynccontextmanager
async def nodes(tmp: Path, *texts: str) -> AsyncIterator[tuple[Appliance, ...]]:
    made = [
        Appliance(
            config_path=tmp / f"{number}.toml",
            state_dir=tmp / f"state-{number}",
            socket=None,
            found=[Found(name="alpha", distribution="test", factory=Alpha)],
            text=text,
        )
        for number, text in enumerate(texts)
    ]
    async with trio.open_nursery() as nursery:
        for each in made:
            await nursery.start(each.run)
        yield tuple(made)
        for each in made:
            each.request_stop("the test is over")


def run(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main)


def sent(sections: tuple[Section, ...]) -> Hidden:
    return Hidden({each.name: each.data.value for each in sections})


def test_sections_of_one_node_get_into_another_which_keeps_its_own(tmp_path: Path) -> None:
    async def main() -> None:
        async with nodes(tmp_path, FW1, FW2) as (one, two):
            sections = await one.bus.call(GetSections(receiver={}, rank=1))
            text = (await two.bus.call(PrepareSections(sections=sent(sections)))).value
            assert tomllib.loads(text) == {
                "node": {"name": "fw2"},
                "alpha": {"own": "two", "rule": ["a"], "skew": 101, "word": "w"},
            }
            assert "# mine" in text
            before = await two.bus.call(GetSections())
            await two.bus.call(ApplyConfig(text=Hidden(text), comment="from fw1", who="fw1"))
            after = await two.bus.call(GetSections())
            assert [each.digest for each in after] == [each.digest for each in sections]
            assert [each.digest for each in before] != [each.digest for each in sections]

    run(main)


def test_an_empty_table_travels_and_so_does_its_absence(tmp_path: Path) -> None:
    async def main() -> None:
        async with nodes(tmp_path, '[node]\nname = "fw1"\n[alpha]\n', '[node]\nname = "fw2"\n') as (one, two):
            assert two.config.get(Table) is None
            for owner, tables in ((one, {"alpha": {}}), (None, {})):
                theirs = {each.name: each for each in await owner.bus.call(GetSections())} if owner else {}
                sections = {"rules": theirs["rules"].data.value if owner else {}}
                prepared = await two.bus.call(PrepareSections(sections=Hidden(sections)))
                assert tomllib.loads(prepared.value) == {"node": {"name": "fw2"}, **tables}
                await two.bus.call(ApplyConfig(text=prepared, comment="from fw1", who="fw1"))
                (now,) = [each.digest for each in await two.bus.call(GetSections()) if each.name == "rules"]
                assert now == digest(sections["rules"])

    run(main)


def test_what_the_receiver_would_refuse_changes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with nodes(tmp_path, FW2) as (two,):
            with pytest.raises(ConfigError, match="that is the wrong word"):
                await two.bus.call(PrepareSections(sections=Hidden({"alpha": {"alpha": {"word": "wrong"}}})))
            with pytest.raises(RefusedError, match="no section 'unheard'"):
                await two.bus.call(PrepareSections(sections=Hidden({"unheard": {}})))
            assert (await two.bus.call(GetConfig())).text.value == FW2

    run(main)


@pytest.mark.parametrize("part", [{"own": "theirs"}, {"word": "x", "item": {"nosync": True}}])
def test_what_belongs_to_one_node_alone_is_not_taken_from_another(tmp_path: Path, part: dict[str, Any]) -> None:
    async def main() -> None:
        async with nodes(tmp_path, FW2) as (two,):
            with pytest.raises(RefusedError, match="'alpha' holds what belongs to one node alone"):
                await two.bus.call(PrepareSections(sections=Hidden({"alpha": {"alpha": part}})))

    run(main)


def test_sections_put_into_an_older_configuration_do_not_undo_what_was_committed_since(tmp_path: Path) -> None:
    async def main() -> None:
        async with nodes(tmp_path, FW2) as (two,):
            sections = Hidden({"rules": {"alpha": {"rule": ["c"]}}})
            text = await two.bus.call(PrepareSections(sections=sections))
            commit = FW2.replace("two", "2")
            await two.bus.call(ApplyConfig(text=Hidden(commit), comment="", who="operator"))
            with pytest.raises(RefusedError, match="changed meanwhile"):
                await two.bus.call(ApplyConfig(text=text, comment="", who="fw1"))
            assert (await two.bus.call(GetConfig())).text.value == commit
            text = await two.bus.call(PrepareSections(sections=sections))
            await two.bus.call(ApplyConfig(text=text, comment="", who="fw1"))
            assert tomllib.loads((await two.bus.call(GetConfig())).text.value)["alpha"] == {"own": "2", "rule": ["c"]}

    run(main)


def test_what_a_push_would_change_is_told_for_the_other_node_and_without_secrets(tmp_path: Path) -> None:
    async def main() -> None:
        async with nodes(tmp_path, FW1) as (one,):
            theirs = {"alpha": {"alpha": {"skew": 7, "token": "t"}}, "rules": {}, "unheard": {"x": 1}}
            found = await one.bus.call(CompareSections(theirs=Hidden(theirs), receiver={}, rank=2, keys_max=2))
            told = {each.name: ([str(key) for key in each.keys], each.more) for each in found}
            assert told == {
                "alpha": (["~ alpha.skew: 7 -> 201", '- alpha.token = "**********"'], True),
                "rules": (['+ alpha.rule[] = "a"'], False),
            }

    run(main)


def test_a_change_that_waits_can_be_confirmed_or_taken_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with nodes(tmp_path, FW2) as (two,):
            text = FW2 + 'word = "new"\n'
            for kind in (RevertConfig, ConfirmConfig):
                change = ApplyConfig(text=Hidden(text), comment="", who="fw1", confirm_within_s=60)
                revision = await two.bus.call(change)
                assert (await two.bus.call(GetConfig())).unconfirmed_s == pytest.approx(60, abs=1)
                with pytest.raises(RefusedError, match="is not in force"):
                    await two.bus.call(kind(revision=revision + 7, who="fw1"))
                await two.bus.call(kind(revision=revision, who="fw1"))
                state = await two.bus.call(GetConfig())
                assert state.unconfirmed_s is None
                assert state.text.value == (text if kind is ConfirmConfig else FW2)

    run(main)


def test_secrets_are_not_shown() -> None:
    assert repr(ApplyConfig(text=Hidden("secret"), comment="c", who="w")).count("secret") == 0
