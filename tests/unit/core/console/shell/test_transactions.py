"""Candidates become configurations, or do not; and nobody overwrites somebody else unseen."""

from pathlib import Path

import pytest

from appliance.errors import ConfigError, RefusedError
from appliance.events import ConfigApplied
from appliance.host.appliance import Appliance
from tests.unit.core.console.shell.people import TEXT, editing, with_node

BOB = '\n[users.bob]\nrole = "viewer"\n'


def test_a_commit_applies_the_candidate_and_names_who_did_it_and_why(tmp_path: Path) -> None:
    async def main(node: Appliance) -> None:
        async with editing(node) as olga:
            await olga.reads("set users bob role viewer")
            assert "+[users.bob]" in await olga.reads("compare")
            assert await olga.reads("commit check") == "no problem was found; nothing has been changed"
            answer = await olga.says('commit comment "bob is new"')
            assert answer["text"].startswith("revision 2 is in force; changed: users\n")
            assert (answer["revision"], answer["changed"]) == (2, False)
            assert await olga.reads("commit") == "nothing to commit"
            assert await olga.reads("compare") == "no difference from revision 2 (in force)"
        last = node.reloader.history()[-1]
        assert (last.who, last.comment) == ("olga", "bob is new")

    with_node(tmp_path, main)
    assert (tmp_path / "a.toml").read_text() == TEXT + BOB


def test_a_wrong_candidate_is_refused_with_every_problem_and_kept(tmp_path: Path) -> None:
    async def main(node: Appliance) -> None:
        async with editing(node) as olga:
            await olga.reads('set users bob description "without a role"')
            for line in ("commit check", "commit"):
                with pytest.raises(ConfigError, match=r"users\.bob\.role: this key is required and missing"):
                    await olga.says(line)
            await olga.reads("set users bob role viewer")
            assert (await olga.says("commit"))["revision"] == 2

    with_node(tmp_path, main)


def test_a_commit_that_nobody_confirms_rolls_back_and_the_edits_are_still_there(tmp_path: Path) -> None:
    async def main(node: Appliance) -> None:
        async with editing(node) as olga:
            await olga.reads("set users bob role viewer")
            text = await olga.reads('commit confirmed 0.05 comment "a try"')
            assert "It rolls back in 3.0s unless you `commit` again." in text
            assert "revision 2 rolls back in" in await olga.reads("status")
            assert "+[users.bob]" in await olga.reads("compare saved")
            with node.bus.subscribe(ConfigApplied, name="test", replay=False) as applied:
                assert (await applied.receive()).revision == 3
            assert "bob" not in node.config.text
            assert "+[users.bob]" in await olga.reads("compare")
            assert (await olga.says("commit"))["revision"] == 4

    with_node(tmp_path, main)


def test_committing_again_confirms(tmp_path: Path) -> None:
    async def main(node: Appliance) -> None:
        async with editing(node) as olga, editing(node, "pat") as pat:
            await olga.reads("set users bob role viewer")
            await olga.reads("commit confirmed 10")
            assert not (await olga.says("status"))["changed"]
            assert await pat.reads("commit") == "revision 2 is confirmed"
            assert await olga.reads("commit") == "nothing to commit"

    with_node(tmp_path, main)
    assert (tmp_path / "a.toml").read_text() == TEXT + BOB


@pytest.mark.parametrize("minutes", ["0", "61"])
def test_no_time_to_confirm_is_refused_with_its_place(tmp_path: Path, minutes: str) -> None:
    async def main(node: Appliance) -> None:
        async with editing(node) as olga:
            answer = await olga.says(f"commit confirmed {minutes}")
            assert answer["error"]["message"] == f"{minutes} minutes is no time to confirm"
            assert answer["error"]["at"] == 17

    with_node(tmp_path, main)


def test_older_revisions_come_back_as_candidates(tmp_path: Path) -> None:
    async def main(node: Appliance) -> None:
        async with editing(node) as olga:
            await olga.reads("set users bob role viewer")
            await olga.reads("commit")
            assert "+[users.bob]" in await olga.reads("compare 1")
            await olga.reads("rollback 1")
            assert "-[users.bob]" in await olga.reads("compare")
            await olga.reads("rollback")
            assert await olga.reads("commit") == "nothing to commit"
            await olga.reads("rollback 1")
            assert (await olga.says("commit"))["revision"] == 3
            with pytest.raises(RefusedError, match="there is no revision 99"):
                await olga.says("rollback 99")

    with_node(tmp_path, main)
    assert (tmp_path / "a.toml").read_text() == TEXT


def test_two_editors_who_change_different_things_both_get_their_way(tmp_path: Path) -> None:
    async def main(node: Appliance) -> None:
        async with editing(node) as olga, editing(node, "pat") as pat:
            assert pat.others == ["olga edits for 0.0s, has changed nothing"]
            assert await olga.hears() == "pat edits the configuration, too"
            await olga.reads("set users bob role viewer")
            await pat.reads("set users eve role viewer")
            assert (await pat.looks())["sessions"][0]["text"].endswith("has changed users, not committed")
            await olga.reads("commit")
            assert await pat.hears() == "olga has put revision 2 in force"
            await pat.reads("commit")
        assert 'role = "operator"      # the boss' in node.config.text
        assert "[users.bob]" in node.config.text
        assert "[users.eve]" in node.config.text

    with_node(tmp_path, main)


def test_two_editors_who_change_the_same_are_told(tmp_path: Path) -> None:
    async def main(node: Appliance) -> None:
        async with editing(node) as olga, editing(node, "pat") as pat:
            await olga.reads("set users admin description olgas")
            await pat.reads("set users admin description pats")
            await olga.reads("commit")
            with pytest.raises(RefusedError, match=r"changed the same since you began: users\.admin\.description"):
                await pat.says("commit")
            assert "your changes are on revision 2 now" in await pat.reads("update")
            await pat.reads("commit")
        assert 'description = "pats"' in node.config.text

    with_node(tmp_path, main)


def test_discarding_begins_anew_with_what_is_in_force(tmp_path: Path) -> None:
    async def main(node: Appliance) -> None:
        async with editing(node) as olga:
            await olga.reads("edit users bob")
            answer = await olga.says("set role viewer")
            assert (answer["place"], answer["changed"]) == ("users bob", True)
            await olga.reads("discard")
            assert (await olga.says("show"))["place"] == "users"
            assert await olga.reads("update") == "nobody else has changed anything since you began"

    with_node(tmp_path, main)


def test_files_are_loaded_as_a_whole_or_into_what_is_there(tmp_path: Path) -> None:
    async def main(node: Appliance) -> None:
        async with editing(node) as olga:
            await olga.loads('[users.bob]\nrole = "viewer"\n', "merge")
            assert "[users.bob]" in await olga.reads("show")
            assert "# the boss" in await olga.reads("show")
            await olga.loads('[node]\nname = "fw1"\n# mine\n', "override")
            assert await olga.reads("show") == '[node]\nname = "fw1"\n# mine'
            with pytest.raises(ConfigError):
                await olga.loads("[node", "override")
            assert await olga.reads("show") == '[node]\nname = "fw1"\n# mine'

    with_node(tmp_path, main)


def test_saving_writes_the_file_when_somebody_has_changed_it(tmp_path: Path) -> None:
    async def main(node: Appliance) -> None:
        async with editing(node) as olga:
            assert await olga.reads("save") == "the file says what is in force already"
            (tmp_path / "a.toml").write_text("[node]\n")
            assert "+name" in await olga.reads("compare saved")
            assert await olga.reads("save") == "what is in force is in the file now"

    with_node(tmp_path, main)
    assert (tmp_path / "a.toml").read_text() == TEXT
