"""Words lead to places in the example configuration, and every place says what may come next."""

from pathlib import Path

import pytest

from appliance.config.document import Document
from appliance.config.positions import KeyPath
from appliance.console.shell.navigation import Navigator, Place
from appliance.console.shell.words import LineError, split
from appliance.host.discovery import discover
from appliance.host.plugins import Plugins

EXAMPLE = Document((Path(__file__).parents[5] / "appliance.toml").read_text())
MODELS = {table.name: table.model for table in Plugins(discover()).tables().values()}
NAVIGATOR = Navigator(MODELS)
NAMES = {"interface": ["wan", "lan"], "vip": ["wan"], "alias": ["web"], "gateway": ["wan_gw"]}


def walk(text: str, *, creating: bool = True) -> tuple[Place, list[str]]:
    place, rest = NAVIGATOR.walk(EXAMPLE, Place(), split(text).words, creating=creating)
    return place, [word.text for word in rest]


def refused(text: str, *, creating: bool = True) -> LineError:
    with pytest.raises(LineError) as caught:
        walk(text, creating=creating)
    return caught.value


def offered(text: str, *, creating: bool = True) -> dict[str, str]:
    place, _ = walk(text, creating=creating)
    choices = NAVIGATOR.complete(EXAMPLE, place, given=(), creating=creating, names=NAMES)
    return {choice.text: choice.help for choice in choices}


@pytest.mark.parametrize(
    ("text", "path", "rest"),
    [
        ("carp vip lan vhid 5", ("carp", "vip", 1, "vhid"), ["5"]),
        ("ca v 0 vh", ("carp", "vip", 0, "vhid"), []),
        ("interfaces lan addresses a b", ("interfaces", "lan", "addresses"), ["a", "b"]),
        ("int dmz dev dmz0", ("interfaces", "dmz", "device"), ["dmz0"]),
        ("firewall rule 0 action block", ("firewall", "rule", 0, "action"), ["block"]),
        ("interfaces wan routes 1 via", ("interfaces", "wan", "routes", 1, "via"), []),
        ("node role", ("node", "role"), []),
    ],
)
def test_words_lead_to_a_place(text: str, path: KeyPath, rest: list[str]) -> None:
    place, left = walk(text)
    assert (place.path, left) == (path, rest)


def test_tables_that_are_there_may_be_abbreviated_too() -> None:
    assert walk("car vip 0", creating=False)[0].path == ("carp", "vip", 0)
    assert refused("nonsense", creating=False).hint.count("carp") == 1


def test_an_item_that_is_not_there_is_made_with_its_name() -> None:
    place, _ = walk("carp vip dmz vhid")
    assert place.path == ("carp", "vip", 2, "vhid")
    assert place.fresh == {("carp", "vip", 2): {"name": "dmz"}}


def test_an_item_without_a_name_is_made_with_the_next_number_only() -> None:
    assert walk("firewall rule 1 action")[0].fresh == {("firewall", "rule", 1): {}}
    error = refused("firewall rule 7 action")
    assert (error.message, error.hint, error.at) == ("there is no item 7", "There are 0 to 0; 1 makes a new one.", 14)


@pytest.mark.parametrize(
    ("text", "creating", "message", "at"),
    [
        ("cap", True, "unknown table `cap`", 0),
        ("carp vip lan speed", True, "unknown key `speed`", 13),
        ("carp p", True, "`p` may be password, preempt, preempt_delay, profile", 5),
        ("interfaces LAN", True, "`LAN` cannot be a name here", 11),
        ("interfaces dmz", False, "unknown name `dmz`", 11),
        ("carp vip dmz", False, "unknown name `dmz`", 9),
    ],
)
def test_a_word_that_leads_nowhere_is_refused_with_its_place(text: str, creating: bool, message: str, at: int) -> None:
    error = refused(text, creating=creating)
    assert (error.message, error.at) == (message, at)


def test_all_tables_are_offered_or_those_that_are_there() -> None:
    assert {"carp", "node", "plugins", "users"} <= set(offered(""))
    assert "plugins" not in offered("", creating=False)
    assert offered("")["carp"] == "[carp]: virtual addresses that move between nodes."


def test_keys_say_what_they_are_whether_they_are_needed_and_their_default() -> None:
    shown = offered("carp vip lan")
    assert shown["vhid"].startswith("(required) Virtual host id 1..255")
    assert shown["advbase"] == '(default 1) Seconds between heartbeats, 1..255; 0 only with profile = "custom"'
    assert set(offered("carp vip lan", creating=False)) == {"name", "interface", "vhid", "addresses", "advskew"}


def test_values_have_their_range_their_kind_and_what_they_are_now() -> None:
    assert offered("carp vip lan vhid") == {
        "<1..255>": "Virtual host id 1..255, unique on its broadcast domain; also the last byte of the virtual MAC; "
        "whole number; now 1"
    }
    assert list(offered("carp profile")) == ["book", "fast", "custom"]
    assert list(offered("carp preempt")) == ["true", "false"]


def test_secrets_are_not_shown() -> None:
    assert "change" not in str(offered("carp password"))
    assert list(offered("carp password")) == ["<secret>"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("carp vip lan interface", ["wan", "lan"]),
        ("pfsync interface", ["wan", "lan"]),
        ("firewall rule 0 source", ["vip:wan", "net:wan", "net:lan", "address:wan", "address:lan", "web"]),
        ("firewall rule 0 destination", ["vip:wan", "net:wan", "net:lan", "address:wan", "address:lan", "web"]),
        ("firewall rule 0 gateway", ["wan_gw"]),
        ("carp vip lan name", []),
    ],
)
def test_existing_things_are_offered_where_they_can_stand(text: str, names: list[str]) -> None:
    assert [text for text in offered(text) if not text.startswith("<")] == names


def test_items_and_names_are_offered_with_what_tells_them_apart() -> None:
    assert offered("carp vip") == {
        "wan": "interface wan, vhid 200, advskew 0",
        "lan": "interface lan, vhid 1, advskew 0",
        "<name>": "a new one",
    }
    assert offered("firewall rule") == {"0": "Default allow LAN to any rule", "1": "a new one, the last"}
    assert list(offered("interfaces", creating=False)) == ["wan", "lan", "sync"]


def test_values_of_a_list_are_offered_where_one_can_be_removed() -> None:
    assert list(offered("interfaces lan addresses", creating=False)) == ["192.168.1.2/24", "2001:db8:1::2/64"]
