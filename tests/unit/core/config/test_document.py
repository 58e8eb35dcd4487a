"""Editing keeps text and data the same, and comments where they were."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.config.document import REDACTED, Document, changed_paths
from appliance.config.positions import KeyPath
from appliance.errors import ConfigError, RefusedError
from appliance.host.discovery import discover
from appliance.host.plugins import Plugins

EXAMPLE = Path(__file__).parents[4] / "appliance.toml"
MODELS = {table.name: table.model for table in Plugins(discover()).tables().values()}


@pytest.fixture
def document() -> Document:
    return Document(EXAMPLE.read_text())


def lost(old: Document, new: Document) -> list[str]:
    """Lines of the old text that are not in the new one."""
    kept = new.text.split("\n")
    return [line for line in old.text.split("\n") if line not in kept]


def test_a_value_changes_and_its_comment_stays(document: Document) -> None:
    new = document.put(("carp", "vip", 0, "vhid"), 7)
    assert lost(document, new) == ["vhid = 200                      # matches the last octet of the address, "
                                   "where that is free"]  # fmt: skip
    assert "vhid = 7                      # matches the last octet" in new.text
    assert document.at(("carp", "vip", 0, "vhid")) == 200


@pytest.mark.parametrize(
    ("path", "value", "names"),
    [
        (("interfaces", "dmz", "device"), "dmz0", {}),
        (("users", "olga", "role"), "viewer", {}),
        (("firewall", "rule", 1, "interface"), "wan", {("firewall", "rule", 1): {}}),
        (("carp", "vip", 2, "vhid"), 9, {("carp", "vip", 2): {"name": "dmz"}}),
        (("firewall", "alias", "web", "entries"), ["192.168.2.1"], {}),
        (("interfaces", "wan", "mtu"), 1400, {}),
        (("dhcp", "lease_s"), 60, {}),
    ],
)
def test_what_is_new_moves_no_comment(
    document: Document, path: KeyPath, value: object, names: dict[KeyPath, dict[str, str]]
) -> None:
    new = document.put(path, value, names=names)
    assert lost(document, new) == []
    assert new.at(path) == value
    assert tomllib.loads(new.text) == new.data
    kept = {} if path[0] in document.data else {path[0]: {}}
    assert new.without(path if names == {} else path[:-1]).data == document.data | kept


def test_an_item_gets_its_name(document: Document) -> None:
    new = document.put(("carp", "vip", 2, "vhid"), 9, names={("carp", "vip", 2): {"name": "dmz"}})
    assert new.at(("carp", "vip", 2)) == {"name": "dmz", "vhid": 9}


def test_what_is_deleted_takes_only_itself_along(document: Document) -> None:
    new = document.without(("carp", "vip", 0))
    assert [vip["name"] for vip in new.at(("carp", "vip"))] == ["lan"]
    assert all('"wan"' in line or "200" in line for line in lost(document, new))


def test_tables_in_tables_that_become_empty_go_and_tables_of_plugins_stay(document: Document) -> None:
    new = document.without(("users", "admin", "role"))
    assert new.at(("users",)) == {}
    assert "[users.admin]" not in new.text
    assert "users" not in new.without(("users",)).data


def test_changes_are_found_at_the_deepest_place() -> None:
    old = {"a": {"b": 1, "c": [1, {"d": 2}]}, "e": [1]}
    new = {"a": {"b": 2, "c": [1, {"d": 3}]}, "e": [1, 2], "f": {}}
    assert set(changed_paths(old, new)) == {("a", "b"), ("a", "c", 1, "d"), ("e",), ("f",)}
    assert set(changed_paths(old, old)) == set()


def test_a_table_is_renamed_with_its_comments(document: Document) -> None:
    new = document.renamed(("interfaces", "wan"), "uplink")
    assert lost(document, new) == ["[interfaces.wan]", "[[interfaces.wan.routes]]", "[[interfaces.wan.routes]]"]
    assert list(new.at(("interfaces",))) == ["uplink", "lan", "sync"]


def test_a_copy_stands_beside_its_original(document: Document) -> None:
    new = document.copied(("carp", "vip", 0), "wan2")
    assert [vip["name"] for vip in new.at(("carp", "vip"))] == ["wan", "wan2", "lan"]
    assert lost(document, new) == []


def test_items_without_names_are_moved_by_their_number(document: Document) -> None:
    two = document.put(("firewall", "rule", 1), {"interface": "wan", "action": "block"})
    moved = two.renamed(("firewall", "rule", 1), 0)
    assert [rule["interface"] for rule in moved.at(("firewall", "rule"))] == ["wan", "lan"]
    with pytest.raises(RefusedError, match="there is no place 5"):
        two.renamed(("firewall", "rule", 1), 5)


@pytest.mark.parametrize(("path", "name"), [(("interfaces", "wan"), "lan"), (("carp", "vip", 0), "lan")])
def test_a_name_that_is_taken_is_refused(document: Document, path: KeyPath, name: str) -> None:
    for change in (document.renamed, document.copied):
        with pytest.raises(RefusedError, match="lan exists already"):
            change(path, name)


def test_merging_goes_by_names(document: Document) -> None:
    other = Document('[[carp.vip]]\nname = "lan"\nadvskew = 100\n[[carp.vip]]\nname = "new"\n[carp]\npreempt = false')
    new = document.merged(other)
    assert [vip["name"] for vip in new.at(("carp", "vip"))] == ["wan", "lan", "new"]
    assert new.at(("carp", "vip", 1, "advskew")) == 100
    assert new.at(("carp", "vip", 1, "vhid")) == 1
    assert new.at(("carp", "preempt")) is False
    assert tomllib.loads(new.text) == new.data


def test_what_is_shown_has_its_comments_and_no_secret(document: Document) -> None:
    shown = document.shown(("carp",), MODELS)
    assert shown.startswith('[carp]\npassword = "**********"   # 1 to 19 bytes')
    assert "change-me-please" not in document.shown((), MODELS)
    assert document.plain(("carp", "password"), MODELS) == REDACTED
    assert document.shown(("carp", "vip", 1, "vhid"), MODELS) == "vhid = 1"
    assert document.shown(("interfaces", "wan"), MODELS).startswith("[interfaces.wan]\ndevice")
    assert "lan0" not in document.shown(("interfaces", "wan"), MODELS)


def test_what_is_not_there_is_nothing(document: Document) -> None:
    assert not document.has(("carp", "vip", 9))
    assert not document.has(("node", "name", "x"))
    assert document.has(("carp", "vip", 0, "advskew"))


def test_something_else_than_toml_is_refused() -> None:
    with pytest.raises(ConfigError):
        Document("[node")


KEYS = st.sampled_from(["a", "b", "c d"])
VALUES = st.one_of(st.integers(0, 9), st.booleans(), st.text(max_size=3), st.lists(st.integers(0, 9), max_size=2))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["put", "without", "item"]), KEYS, KEYS, VALUES), max_size=12))
def test_text_and_data_never_disagree(edits: list[tuple[str, str, str, object]]) -> None:
    document = Document('# top\n[a]\nb = 1 # one\n\n# about c\n["c d".a]\nx = 1\n')
    for kind, table, key, value in edits:
        if kind == "put":
            document = document.put((table, key), value)
        elif kind == "item" and not isinstance(document.at((table, key)), int | str | bool):
            items = document.at((table, key))
            at = len(items) if isinstance(items, list) and all(isinstance(each, dict) for each in items) else 0
            if not isinstance(items, list) or at:
                document = document.put((table, key, at, "x"), value)
        elif document.has((table, key)):
            document = document.without((table, key))
        assert tomllib.loads(document.text) == document.data
        assert document.text.startswith("# top")
