"""What the shell asks of a node: commands, the prompt, the live screen."""

from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import trio

from appliance.console.commands import shell
from appliance.console.shell.snapshot import restored
from appliance.control.context import ControlContext
from appliance.events import Role, RoleChanged
from appliance.host.appliance import Appliance
from tests.unit.core.console.shell.people import editing, with_node


def context(node: Appliance) -> Any:
    return cast(Any, ControlContext(cast(Any, node), who="olga"))


def test_the_grammar_has_the_commands_of_plugins_and_the_names_there_are(tmp_path: Path) -> None:
    async def main(node: Appliance) -> None:
        found = await shell.grammar(context(node))
        paths = {restored(each).path for each in found["commands"]}
        assert {("show", "ha"), ("show", "users"), ("monitor", "ha")} <= paths
        assert found["names"]["user"] == ["admin"]

    with_node(tmp_path, main)


def test_the_prompt_hears_of_roles_editors_and_confirmations(tmp_path: Path) -> None:
    async def main(node: Appliance) -> None:
        async with aclosing(shell.watch(context(node))) as seen:
            first = await anext(seen)
            assert (first["node"], first["role"], first["revision"], first["editors"]) == ("fw1", "NONE", 1, [])
            node.bus.publish(RoleChanged(interface="lan", vhid=1, role=Role.MASTER, reason="x"), source="test")
            assert (await anext(seen))["role"] == "MASTER"
            async with editing(node) as olga:
                assert (await anext(seen))["editors"] == ["olga"]
                await olga.reads("set users bob role viewer")
                await olga.reads("commit confirmed 10")
                changed = await anext(seen)
                while not changed["unconfirmed"]:
                    changed = await anext(seen)
                assert 590 < changed["unconfirmed_s"] <= 600
                await olga.reads("commit")

    with_node(tmp_path, main)


def test_everybody_is_told_of_a_change_that_was_taken_back(tmp_path: Path) -> None:
    async def main(node: Appliance) -> None:
        async with aclosing(shell.watch(context(node))) as seen, editing(node) as olga:
            await anext(seen)
            await olga.reads("set users bob role viewer")
            await olga.reads("commit confirmed 10")
            while not (await anext(seen)).get("unconfirmed"):
                pass
            await node.reloader.revert(who="pat")
            told = "revision 2 was taken back by pat; what was in force before it is again"
            while (await anext(seen)).get("notice") != told:
                pass

    with_node(tmp_path, main)


def test_the_live_screen_comes_again_and_again(tmp_path: Path) -> None:
    async def main(node: Appliance) -> None:
        async with aclosing(shell.monitor_ha(context(node), 0.0)) as screens:
            began = trio.current_time()
            assert [(await anext(screens))["node"] for _ in range(2)] == ["fw1", "fw1"]
            assert trio.current_time() - began >= shell.INTERVAL_MIN_S

    with_node(tmp_path, main)
