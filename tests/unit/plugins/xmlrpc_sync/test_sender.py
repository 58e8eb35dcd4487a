"""The sending node, with a peer that it really talks to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import pytest
import trio
from pydantic import Field

from appliance.events import Alarm, Health, Status
from appliance.events.config import ApplyConfig, ConfirmConfig, Hidden
from appliance.plugin import ConfigTable, hookimpl
from appliance.testing import RunningNode, eventually
from appliance.testing.capture import capturing
from appliance.testing.machines import Machine
from appliance.testing.reporting import single_failure
from appliance_xmlrpc_sync import peersync
from appliance_xmlrpc_sync.events import PeersPaired
from appliance_xmlrpc_sync.facts import Facts
from appliance_xmlrpc_sync.kept import copies
from appliance_xmlrpc_sync.plugin import XmlrpcSync
from tests.unit.plugins.xmlrpc_sync.nodes import (
    FW1,
    FW2,
    InterfacesPlugin,
    Pair,
    Rules,
    RulesPlugin,
    UsersPlugin,
    free_port,
    rule,
    text,
    user_table,
)

pytestmark = pytest.mark.usefixtures("appliance_nodes")

SOON_S, LOOK_S = 5.0, 0.02
PLUGINS = (InterfacesPlugin, RulesPlugin, UsersPlugin, XmlrpcSync)


class NewerRules(Rules):
    """``[rules]`` of a later version."""

    limit: Annotated[int, Field(ge=0)] = 0


class NewerPlugin(RulesPlugin):
    """Its owner."""

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(name="rules", model=NewerRules, summary="Something to synchronize.")


class Sending:
    """A primary that sends to a secondary, both of which can be stopped."""

    def __init__(self, folder: Path, nursery: trio.Nursery) -> None:
        self.folder, self.port = folder, free_port()
        self._nursery = nursery
        self._machines: dict[str, Machine] = {}

    @property
    def one(self) -> RunningNode:
        return self._machines["fw1"].running

    @property
    def two(self) -> RunningNode:
        return self._machines["fw2"].running

    def text(self, items: str, sync: str = "") -> str:
        """The configuration of the primary; items are names, or ``name:port``."""
        pairs = [(each.partition(":")[0], each.partition(":")[2]) for each in items.split()]
        rules = "".join(rule(name, **({"port": int(port)} if port else {})) for name, port in pairs)
        return text("fw1", "primary", FW1, self.port, rules=rules, sync=f'peers = ["{FW2}"]\n{sync}')

    async def start_one(self, items: str = "", sync: str = "") -> None:
        await self._start("fw1", self.text(items, sync), PLUGINS)

    async def start_two(
        self, rules: str = "", sync: str = "", role: str = "secondary", owner: Any = RulesPlugin
    ) -> None:
        made = text("fw2", role, FW2, self.port, rules=rules, sync=sync)
        await self._start("fw2", made, (InterfacesPlugin, owner, UsersPlugin, XmlrpcSync))

    async def _start(self, name: str, whole: str, plugins: tuple[Any, ...]) -> None:
        files = self.folder / f"{name}-files"
        files.mkdir(exist_ok=True)
        self._machines[name] = Machine(whole, plugins, files, self.folder / name)
        await self._machines[name].power_on(self._nursery)

    async def stop(self, *names: str) -> None:
        for name in names or self._machines:
            await self._machines[name].stop()

    async def introduce(self) -> None:
        await Pair(self.one, self.two, self.folder, self.port).introduce()

    async def commit(self, items: str, sync: str = "") -> None:
        await self.one.reload(self.text(items, sync))

    async def edit(self, items: str) -> None:
        """An operator of the secondary replaces the rules."""
        head = self.two.config.text.partition("[[rules.rule]]")[0]
        await self.two.reload(head + "".join(rule(name) for name in items.split()))

    def there(self) -> str:
        return " ".join(each.name for each in self.two.config[Rules].rule)

    async def arrives(self, items: str) -> None:
        await eventually(lambda: self.there() == items)

    async def row(self) -> dict[str, Any]:
        """The peer, as `show sync` tells it."""
        (row,) = (await self.one.command("show sync"))["peers"]
        assert isinstance(row, dict)
        return row

    async def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for a state of the peer."""
        row = await self.row()
        for _ in range(round(SOON_S / LOOK_S)):
            if condition(row):
                return row
            await trio.sleep(LOOK_S)
            row = await self.row()
        raise AssertionError(f"it did not come to this within {SOON_S:g} s: {row}")

    async def now(self, line: str = "sync now") -> dict[str, Any]:
        (row,) = (await self.one.command(line))["peers"]
        assert isinstance(row, dict)
        return row

    def alarm(self) -> str:
        """The alarm about the peer; empty while there is none."""
        return next((a.what for a in self.one.retained(Alarm) if a.key == f"sync/{FW2}/failing" and a.active), "")


@asynccontextmanager
async def stopped(folder: Path) -> AsyncIterator[Sending]:
    """Two nodes that have not been started."""
    with single_failure(), capturing():
        async with trio.open_nursery() as nursery:
            made = Sending(folder, nursery)
            try:
                yield made
            finally:
                await made.stop()
        assert made.one.crashes() + made.two.crashes() == []


@asynccontextmanager
async def sending(
    folder: Path, items: str = "a", *, sync: str = "", there: str = "", **two: Any
) -> AsyncIterator[Sending]:
    """Two nodes that are paired.

    Args:
        folder: For their files.
        items: Of the primary.
        sync: More of ``[xmlrpc_sync]`` of the primary.
        there: And of the secondary.
        two: More of `Sending.start_two`.
    """
    async with stopped(folder) as made:
        await made.start_two(sync=there, **two)
        await made.start_one(items, sync)
        await made.introduce()
        yield made


def in_sync(row: dict[str, Any]) -> bool:
    return row["state"] == "in-sync" and not row["busy"]


def failing(row: dict[str, Any]) -> bool:
    return row["state"] == "failing" and not row["busy"]


# --- from the first meeting on ----------------------------------------------------------------------------------


async def test_nodes_that_are_not_paired_say_so_and_pairing_is_all_it_takes(tmp_path: Path) -> None:
    async with stopped(tmp_path) as made:
        await made.start_two()
        await made.start_one("a b")
        row = await made.until(failing)
        assert row["error"] == f"this node is not paired with {FW2}"
        assert f"appliance pair {FW2} --code" in row["remedy"]
        assert (row["cause"], row["name"], row["sections"]) == ("not paired", FW2, [])
        assert made.alarm().startswith("the configuration is not synchronized to 127.0.0.2: this node is not paired")
        await made.introduce()
        await made.arrives("a b")
        row = await made.until(in_sync)
        assert row["name"] == "fw2"
        assert made.one.events(PeersPaired)[-1].peers == ("fw2",)
        assert made.alarm() == ""


async def test_a_commit_is_on_the_peer_without_anybody_doing_anything(tmp_path: Path) -> None:
    async with sending(tmp_path) as made:
        await made.arrives("a")
        await made.until(in_sync)
        for number in range(3):
            await made.commit(f"a n{number}")
            await made.arrives(f"a n{number}")
            row = await made.until(lambda row: in_sync(row) and row["pushed"] == ["rules"])
        assert row["generation"] == (await made.one.command("show sync"))["peer_generation"]
        assert row["sections"] == [{"name": "rules", "state": "in-sync", "who": None, "when": None}]
        assert row["last_success"] is not None
        assert row["fingerprint"] == (await made.two.command("pair list"))["fingerprint"]
        assert made.two.config[Rules].device == "fw2-lan", "its local field stays"


async def test_what_the_peer_keeps_for_itself_stays_there(tmp_path: Path) -> None:
    async with sending(tmp_path, rules=rule("old") + rule("mine", nosync=True)) as made:
        await made.arrives("a mine")
        await made.until(in_sync)


async def test_commits_in_a_row_end_with_the_last_one_there(tmp_path: Path) -> None:
    async with sending(tmp_path) as made:
        await made.arrives("a")
        for number in range(12):
            await made.commit(f"n{number}")
        await made.arrives("n11")
        await made.until(in_sync)
        assert len(made.one.log("configuration_synchronized")) < 12


# --- when it does not work --------------------------------------------------------------------------------------


async def test_a_refused_configuration_is_told_in_the_words_of_the_peer_and_changes_nothing_there(
    tmp_path: Path,
) -> None:
    async with sending(tmp_path, owner=_Strict) as made:
        await made.arrives("a")
        await made.commit("a b:13")
        row = await made.until(failing)
        assert row["cause"] == "validation"
        assert row["error"].startswith("fw2 refused the configuration: ")
        assert "rules.rule[1].port: port 13 is not for fw2" in row["error"]
        assert "port 13 is not for fw2" in made.alarm()
        assert made.there() == "a"
        assert any("port 13" in each.summary or "refused" in each.summary for each in made.one.retained(Status))
        await made.commit("a b:14")
        await made.arrives("a b")
        await made.until(in_sync)
        assert made.alarm() == ""


class _Strict(RulesPlugin):
    """Refuses on the secondary what the primary accepts."""

    @hookimpl
    def appliance_verify(self, config: Any) -> list[Any]:
        from appliance.errors import Problem

        places = enumerate(config[Rules].rule)
        message = f"port 13 is not for {config.node.name}"
        return [Problem(path=("rules", "rule", n, "port"), message=message) for n, each in places if each.port == 13]


async def test_an_outage_of_any_length_ends_in_one_push(tmp_path: Path) -> None:
    async with sending(tmp_path) as made:
        await made.arrives("a")
        await made.until(in_sync)
        await made.stop("fw2")
        await made.commit("a b")
        row = await made.until(failing)
        assert row["cause"] == "refused"
        assert "nothing listens on 127.0.0.2" in row["error"]
        assert made.alarm() == "", "it may only be restarting"
        await made.commit("a b c")
        before = len(made.one.log("configuration_synchronized"))
        await made.start_two(rules=rule("a"))
        await made.arrives("a b c")
        await made.until(in_sync)
        assert len(made.one.log("configuration_synchronized")) == before + 1


async def test_a_peer_that_stays_away_is_an_alarm(tmp_path: Path) -> None:
    async with sending(tmp_path) as made:
        await made.until(in_sync)
        await made.stop("fw2")
        for _ in range(6):
            row = await made.now()
        assert row["cause"] == "refused"
        assert "nothing listens on" in made.alarm()
        (status,) = [each for each in made.one.retained(Status) if each.summary.startswith("fw2: nothing")]
        assert status.health is Health.WARN


async def test_two_primaries_are_an_alarm_and_never_a_success(tmp_path: Path) -> None:
    async with sending(tmp_path, role="primary", rules=rule("own")) as made:
        row = await made.until(lambda row: row["cause"] == "loop")
        assert (row["state"], made.there()) == ("failing", "own")
        assert "fw2 is a primary too" in made.alarm()
        alarm = next(each for each in made.one.retained(Alarm) if each.key == f"sync/{FW2}/failing")
        assert alarm.health is Health.FAIL


async def test_a_peer_of_another_version_is_not_sent_anything(tmp_path: Path) -> None:
    async with sending(tmp_path, owner=NewerPlugin, rules=rule("own")) as made:
        row = await made.until(lambda row: row["cause"] == "version")
        assert (row["state"], made.there()) == ("failing", "own")
        assert "has another form of the tables of rules" in row["error"]


# --- user and password ------------------------------------------------------------------------------------------


def password(folder: Path, word: str) -> str:
    path = folder / "sync.password"
    path.touch(mode=0o600)
    path.write_text(word + "\n")
    return f'password_file = "{path}"'


async def test_with_the_right_password_it_works(tmp_path: Path) -> None:
    async with sending(tmp_path, there=user_table(admin="operator")) as made:
        await made.until(lambda row: row["cause"] == "password")
        await made.commit("a b", password(tmp_path, "right"))
        await made.arrives("a b")


async def test_a_wrong_password_is_told_apart_and_a_new_one_counts_at_once(tmp_path: Path) -> None:
    async with sending(tmp_path, sync=password(tmp_path, "wrong"), there=user_table(admin="sync")) as made:
        row = await made.until(lambda row: row["cause"] == "password")
        assert "refused user 'admin': unknown user or wrong password" in row["error"]
        assert made.there() == ""
        password(tmp_path, "right")
        row = await made.now()
        assert (row["error"], made.there()) == (None, "a")


async def test_a_user_who_may_only_look_cannot_push(tmp_path: Path) -> None:
    async with sending(tmp_path, sync=password(tmp_path, "right"), there=user_table(admin="viewer")) as made:
        row = await made.until(lambda row: row["cause"] == "privilege")
        assert row["error"].startswith("fw2 does not allow this: the user admin may not change")


async def test_a_missing_password_file_is_this_nodes_own_fault(tmp_path: Path) -> None:
    async with sending(tmp_path, "a") as made:
        await made.arrives("a")
        await made.commit("b", 'password_file = "/nowhere/sync.password"')
        row = await made.until(failing)
        assert (row["cause"], row["error"]) == ("own", "the password file /nowhere/sync.password is missing")


# --- what operators say -----------------------------------------------------------------------------------------


async def test_with_a_manual_policy_a_commit_waits_for_sync_now(tmp_path: Path) -> None:
    async with sending(tmp_path, sync='policy = "manual"') as made:
        row = await made.until(lambda row: row["state"] == "behind" and bool(row["sections"]))
        assert row["sections"][0]["state"] == "pending"
        assert "policy is manual" in row["why"]
        assert made.there() == ""
        row = await made.now()
        assert (row["state"], row["pushed"], made.there()) == ("in-sync", ["rules"], "a")


async def test_a_section_that_is_off_stays_here(tmp_path: Path) -> None:
    async with sending(tmp_path, sync='off = ["rules"]') as made:
        row = await made.until(in_sync)
        assert (row["sections"][0]["state"], made.there()) == ("off", "")


async def test_a_change_that_waits_to_be_confirmed_here_travels_when_it_is(tmp_path: Path) -> None:
    async with sending(tmp_path) as made:
        await made.arrives("a")
        await made.until(in_sync)
        change = ApplyConfig(text=Hidden(made.text("a b")), comment="", who="test", confirm_within_s=60.0)
        revision = await made.one.call(change)
        row = await made.until(lambda row: "waits to be confirmed" in row["why"])
        assert (row["state"], made.there()) == ("behind", "a")
        await made.one.call(ConfirmConfig(revision=revision, who="test"))
        await made.arrives("a b")


async def test_what_was_changed_there_is_overwritten_and_a_copy_named(tmp_path: Path) -> None:
    async with sending(tmp_path) as made:
        await made.arrives("a")
        await made.until(in_sync)
        await made.edit("mine")
        assert made.there() == "mine"
        row = await made.now()
        assert (made.there(), row["state"]) == ("a", "in-sync")
        assert row["kept"] == copies(tmp_path / "fw2" / "xmlrpc_sync")
        assert len(row["kept"]) == 1
        assert made.one.log("drift_overwritten")[0]["copies"] == row["kept"]


async def test_or_it_is_refused_until_an_operator_forces_it(tmp_path: Path) -> None:
    async with sending(tmp_path, sync='on_drift = "refuse"') as made:
        await made.arrives("a")
        await made.until(in_sync)
        await made.edit("mine")
        row = await made.now()
        assert (row["cause"], made.there()) == ("drift", "mine")
        assert "rules (by an operator, " in row["error"]
        assert row["sections"][0]["state"] == "drift"
        (differences,) = (await made.one.command("sync diff"))["peers"]
        assert differences["sections"][0]["keys"] == [
            {"key": "rules.rule[mine].name", "change": "removed", "there": '"mine"', "here": None},
            {"key": "rules.rule[a].name", "change": "added", "there": None, "here": '"a"'},
        ]
        row = await made.now("sync now --force")
        assert (row["error"], made.there()) == (None, "a")


async def test_a_peer_that_accepts_and_does_not_answer_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: object) -> object:
        await trio.sleep_forever()
        raise AssertionError

    async with sending(tmp_path) as made:
        await made.arrives("a")
        await made.until(in_sync)
        with monkeypatch.context() as patched:
            patched.setattr(peersync, "QUESTION_S", 0.2)
            patched.setattr(Facts, "picture", never)
            row = await made.now()
        assert row["cause"] == "silent"
        assert row["error"] == "fw2 has accepted the connection and not answered config_digest within 0.2 s"
        assert "overloaded or hangs" in row["remedy"]


async def test_differences_to_a_peer_that_is_away_are_its_error(tmp_path: Path) -> None:
    async with sending(tmp_path) as made:
        await made.arrives("a")
        await made.until(in_sync)
        assert (await made.one.command("sync diff"))["peers"][0]["sections"] == []
        await made.stop("fw2")
        (row,) = (await made.one.command("sync diff"))["peers"]
        assert "nothing listens on" in row["error"]


async def test_a_peer_that_is_removed_from_the_configuration_is_left_alone(tmp_path: Path) -> None:
    async with sending(tmp_path) as made:
        await made.until(in_sync)
        await made.stop("fw2")
        for _ in range(6):
            await made.now()
        assert made.alarm()
        await made.one.reload(text("fw1", "primary", FW1, made.port, rules=rule("b")))
        data = await made.one.command("show sync")
        assert (data["state"], data["peers"]) == ("off", [])
        assert made.alarm() == ""


async def test_doctor_and_the_secondary_agree(tmp_path: Path) -> None:
    async with sending(tmp_path) as made:
        await made.arrives("a")
        await made.until(in_sync)
        assert (await made.one.check("sync-peers")).health is Health.OK
        assert (await made.one.check("sync-clocks")).health is Health.OK
        data = await made.two.command("show sync")
        assert (data["role"], data["peer"], data["state"]) == ("secondary", "fw1", "in-sync")
