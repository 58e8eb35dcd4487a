"""The commands behind configuration mode."""

import json
from pathlib import Path

import pytest

from appliance.console.commands.configure import COMMANDS
from appliance.errors import RefusedError
from appliance.host.appliance import Appliance
from tests.unit.core.console.shell.people import Person, editing, with_node

CLI = (Path(__file__).parents[5] / "docs" / "cli.md").read_text()
DOCUMENTED = json.loads(CLI.partition("```json configure status\n")[2].partition("```")[0])


def test_only_looking_who_edits_is_for_viewers() -> None:
    assert [command.path for command in COMMANDS if command.reads] == [("configure", "status")]


def test_a_line_that_is_not_understood_has_its_place(tmp_path: Path) -> None:
    async def main(node: Appliance) -> None:
        async with editing(node) as olga:
            answer = await olga.says("set users bob role king")
            assert answer["error"] == {
                "message": "`king` cannot be the role",
                "hint": 'It needs one of "operator", "viewer" or "sync".',
                "at": 19,
                "wants_secret": False,
            }
            assert not answer["changed"]

    with_node(tmp_path, main)


def test_parts_are_shown_as_text_as_json_and_as_commands(tmp_path: Path) -> None:
    async def main(node: Appliance) -> None:
        async with editing(node) as olga:
            assert (await olga.says("show users"))["text"] == '[users.admin]\nrole = "operator"      # the boss'
            assert (await olga.says("show users", "json"))["data"] == {"admin": {"role": "operator"}}
            assert (await olga.says("show users", "set"))["text"] == "set users admin role operator"
            assert (await olga.says("show", "set"))["text"].startswith("set node name fw1\n")
            assert (await olga.says("compare", "set"))["error"]["hint"] == "Use it with `show`."

    with_node(tmp_path, main)


def test_completion_says_where_the_word_begins(tmp_path: Path) -> None:
    async def main(node: Appliance) -> None:
        async with editing(node) as olga:
            found = await olga.completes("set users admin ro")
            assert (found["start"], [row["text"] for row in found["choices"]]) == (16, ["role"])
            assert "error" in await olga.completes("set cap x ")

    with_node(tmp_path, main)


def test_secrets_are_marked(tmp_path: Path) -> None:
    async def main(node: Appliance) -> None:
        async with editing(node) as olga:
            assert (await olga.says("set carp password"))["error"]["wants_secret"]
            assert (await olga.says("set carp password hunter2"))["secret"]
            shown = await olga.says("show", "json")
            assert "hunter2" not in str(shown)

    with_node(tmp_path, main)


def test_who_edits_is_known_as_long_as_they_do(tmp_path: Path) -> None:
    async def main(node: Appliance) -> None:
        async with editing(node, exclusive=True) as olga:
            shown = await olga.looks()
            assert shown.keys() == DOCUMENTED.keys()
            (row,) = shown["sessions"]
            assert row.keys() == DOCUMENTED["sessions"][0].keys()
            assert (row["who"], row["exclusive"], row["changed"]) == ("olga", True, False)
            with pytest.raises(RefusedError, match="olga edits the configuration exclusively"):
                async with editing(node, "pat"):
                    pass
        gone: Person = olga
        assert (await gone.looks())["sessions"] == []
        with pytest.raises(RefusedError, match="has ended"):
            await gone.says("show")

    with_node(tmp_path, main)
