"""Lines of configuration mode edit a candidate, and say what was wrong with them."""

from pathlib import Path
from typing import Any

import pytest

from appliance.config.document import Document
from appliance.console.shell.editor import Answer, Editor
from appliance.console.shell.verbs import VERBS
from appliance.console.shell.words import LineError
from appliance.errors import RefusedError
from appliance.host.discovery import discover
from appliance.host.editing import EditSession
from appliance.host.plugins import Plugins

TEXT = (Path(__file__).parents[5] / "appliance.toml").read_text()
MODELS = {table.name: table.model for table in Plugins(discover()).tables().values()}


@pytest.fixture
def editor() -> Editor:
    base = Document(TEXT)
    session = EditSession(id="1", who="olga", since=0, exclusive=False, base=base, base_revision=1, candidate=base)
    return Editor(session, MODELS, lambda: {"interface": ("wan", "lan")})


def at(editor: Editor, *path: str | int) -> Any:
    return editor.session.candidate.at(path)


def run(editor: Editor, *lines: str) -> Answer:
    answer = Answer()
    for line in lines:
        answer = editor.run(line)
    return answer


def refused(editor: Editor, line: str) -> tuple[str, str, int]:
    before = editor.session.candidate.text
    with pytest.raises(LineError) as caught:
        editor.run(line)
    assert editor.session.candidate.text == before
    return caught.value.message, caught.value.hint, caught.value.at


def offered(editor: Editor, text: str) -> list[str]:
    return [choice.text for choice in editor.complete(text)[0]]


@pytest.mark.parametrize(
    ("line", "path", "value"),
    [
        ("set carp vip lan vhid 5", ("carp", "vip", 1, "vhid"), 5),
        ("set carp preempt false", ("carp", "preempt"), False),
        ("set interfaces dmz device dmz0", ("interfaces", "dmz"), {"device": "dmz0"}),
        ("set carp vip dmz vhid 2", ("carp", "vip", 2), {"name": "dmz", "vhid": 2}),
        ("set plugins", ("plugins",), {}),
        ("set carp vip dmz", ("carp", "vip", 2), {"name": "dmz"}),
        ("set firewall rule 1 interface wan", ("firewall", "rule", 1), {"interface": "wan"}),
        ("set firewall rule 0 interface wan lan", ("firewall", "rule", 0, "interface"), ["wan", "lan"]),
        ("set firewall nodes 172.16.1.4", ("firewall", "nodes"), ["172.16.1.2", "172.16.1.3", "172.16.1.4"]),
        ("set firewall nodes 172.16.1.2", ("firewall", "nodes"), ["172.16.1.2", "172.16.1.3"]),
        ('set firewall nodes ["172.16.1.9", "172.16.1.8"]', ("firewall", "nodes"), ["172.16.1.9", "172.16.1.8"]),
        ("set firewall nodes [ 172.16.1.9 172.16.1.8 ]", ("firewall", "nodes"), ["172.16.1.9", "172.16.1.8"]),
        ('set interfaces lan description "the | office"', ("interfaces", "lan", "description"), "the | office"),
        ("se int lan desc 5", ("interfaces", "lan", "description"), "5"),
        ("delete carp vip lan advskew", ("carp", "vip", 1, "advskew"), None),
        ("delete firewall nodes 172.16.1.3", ("firewall", "nodes"), ["172.16.1.2"]),
        ("rename interfaces lan to office", ("interfaces", "office", "device"), "lan0"),
        ("rename carp vip lan to office", ("carp", "vip", 1, "name"), "office"),
        ("copy carp vip lan to office", ("carp", "vip", 2, "name"), "office"),
        ("copy firewall rule 0 to 1", ("firewall", "rule", 1, "interface"), "lan"),
    ],
)
def test_a_line_is_an_edit(editor: Editor, line: str, path: tuple[str | int, ...], value: object) -> None:
    run(editor, line)
    assert at(editor, *path) == value


@pytest.mark.parametrize(
    ("line", "message", "hint", "place"),
    [
        ("set carp vip lan vhid 300", "`300` cannot be the vhid", "It must be at most 255.", 22),
        ("set carp vip lan vhid", "a value is missing", "Give 1..255.", 21),
        ("set carp password", "the secret is missing", "Type it behind the key.", 17),
        ("set carp vip lan", "a value is missing", "Go on with a key: `?`.", 16),
        ("set carp preempt true false", "only one value may be here", "Put it in quotes.", 22),
        ("set carp speed 5", "unknown key `speed`", "Possible here:", 9),
        ("delete carp vip dmz", "unknown name `dmz`", "Possible here: lan, wan.", 16),
        ("delete carp preempt_delay", "this is not in the configuration", "`show` prints what there is.", 12),
        ("delete firewall nodes 9.9.9.9", "`9.9.9.9` is not there", "There is: 172.16.1.2, 172.16.1.3.", 22),
        ("delete", "what is to be deleted is missing", "`discard` forgets all changes.", 6),
        ("rename carp vip lan office", "the new name is missing", "Say `PATH to NAME`", 26),
        ("rename carp preempt to x", "this has no name of its own", "Name a table or an item.", 12),
        ("rename firewall rule 0 to x", "this item has no name", "Give the number of its new place.", 26),
        ("edit carp preempt", "only tables can be edited", "Use `set` for a value.", 10),
        ("show carp preempt true", "nothing is below a value", "Leave it out.", 18),
        ("delte carp", "unknown command `delte`", "Did you mean `delete`?", 0),
    ],
)
def test_a_wrong_line_changes_nothing_and_says_where_and_what_to_do(
    editor: Editor, line: str, message: str, hint: str, place: int
) -> None:
    said, remedy, column = refused(editor, line)
    assert (said, column) == (message, place)
    assert remedy.startswith(hint)


def test_a_name_that_is_taken_is_refused(editor: Editor) -> None:
    with pytest.raises(RefusedError, match="lan exists already"):
        run(editor, "rename carp vip wan to lan")


def test_a_wrong_secret_is_not_repeated_and_a_right_one_is_marked(editor: Editor) -> None:
    message, hint, _ = refused(editor, f"set carp password {'x' * 30}")
    assert "xxx" not in message + hint
    assert run(editor, "set carp password other-one").is_secret
    assert not run(editor, "set carp preempt true").is_secret


def test_paths_are_relative_to_where_edit_has_gone(editor: Editor) -> None:
    run(editor, "edit carp vip lan", "set vhid 5")
    assert at(editor, "carp", "vip", 1, "vhid") == 5
    assert editor.shown_place() == "carp vip lan"
    run(editor, "up")
    assert editor.shown_place() == "carp vip"
    run(editor, "up 9")
    assert editor.shown_place() == ""
    run(editor, "edit carp vip new", "set vhid 6", "top")
    assert at(editor, "carp", "vip", 2) == {"name": "new", "vhid": 6}


def test_deleting_the_place_one_is_at_goes_up(editor: Editor) -> None:
    run(editor, "edit interfaces sync", "delete")
    assert at(editor, "interfaces", "sync") is None
    assert editor.shown_place() == "interfaces"


def test_show_prints_a_part_with_its_comments_without_secrets(editor: Editor) -> None:
    assert run(editor, "show carp vip lan").text.startswith('[[carp.vip]]\nname = "lan"')
    whole = run(editor, "show")
    assert "# Virtual addresses: what clients and routers use" in whole.text
    assert "change-me-please" not in whole.text + str(whole.data)
    run(editor, "edit carp")
    assert run(editor, "show vip wan vhid").data == 200


def test_what_is_shown_can_be_typed_again(editor: Editor) -> None:
    lines = editor.as_set_lines(run(editor, "show carp vip"), editor.path_of("show carp vip")).split("\n")
    assert lines[1] == "set carp vip wan vhid 200"
    before = at(editor, "carp", "vip")
    run(editor, "delete carp vip", *lines)
    assert at(editor, "carp", "vip") == before


def test_edits_can_be_made_again_on_another_text(editor: Editor) -> None:
    run(editor, "set carp vip lan vhid 5", "edit interfaces lan", "set mtu 1400")
    other = Document(TEXT.replace("preempt = true ", "preempt = false"))
    for edit in editor.session.edits:
        other = edit(other)
    assert other.at(("carp", "vip", 1, "vhid")) == 5
    assert other.at(("interfaces", "lan", "mtu")) == 1400
    assert other.at(("carp", "preempt")) is False


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("se", ["set"]),
        ("set carp vip lan in", ["interface"]),
        ("set carp vip lan interface l", ["lan", "<text>"]),
        ("set interfaces lan mtu ", ["<576..65535>"]),
        ("delete carp vip ", ["wan", "lan"]),
        ("show inter", ["interfaces"]),
        ("rename carp vip lan ", ["name", "interface", "vhid", "addresses", "advskew", "to"]),
        ("rename carp vip lan to ", ["<name>"]),
        ("commit ", ["check", "comment", "confirmed"]),
        ("commit confirmed ", ["<minutes>"]),
        ("load ", ["merge", "override"]),
    ],
)
def test_completion_follows_the_models(editor: Editor, text: str, words: list[str]) -> None:
    assert offered(editor, text) == words


def test_completion_is_relative_to_the_place_and_says_where_the_word_begins(editor: Editor) -> None:
    run(editor, "edit carp vip lan")
    choices, start = editor.complete("set vh")
    assert ([each.text for each in choices], start) == (["vhid"], 4)


def test_completing_a_wrong_line_says_what_is_wrong(editor: Editor) -> None:
    with pytest.raises(LineError, match="unknown key `speed`"):
        editor.complete("set carp speed ")


def test_every_verb_has_help_and_no_two_are_the_same() -> None:
    assert all(verb.help.endswith(".") for verb in VERBS)
    assert len({verb.path for verb in VERBS}) == len(VERBS)
