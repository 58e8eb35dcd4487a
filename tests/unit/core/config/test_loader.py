"""Every problem of a file is found at once, with its line and in words that help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, field_validator

from appliance.config import Config, Model
from appliance.config.loader import Unavailable, head, load, load_tolerant, load_whole, read_file
from appliance.config.syntax import FILE_MAX_BYTES
from appliance.config.types import Cidr, InterfaceName, Ip, Network, Seconds, Secret, Vhid
from appliance.errors import ApplianceError, ConfigError, Problem
from appliance.plugin import ConfigTable


class Vip(Model):
    vhid: Vhid
    """Number of the virtual host."""
    password: Secret | None = None
    addresses: list[Cidr] = []
    advskew: int = 0
    profile: Literal["book", "fast", "custom"] = "book"
    mode: int | Literal["auto"] = "auto"


class Carp(Model):
    vip: list[Vip] = []
    preempt: bool = True
    hold_s: Seconds = 1.0
    pairing_secret: Secret | None = None


class Lan(Model):
    device: Annotated[str, Field(min_length=1)]
    """Kernel device."""
    gateway: Ip | None = None
    network: Network | None = None


class Interfaces(Model):
    lan: dict[InterfaceName, Lan] = {}

    @field_validator("lan")
    @classmethod
    def _bug(cls, value: dict[str, Lan]) -> dict[str, Lan]:
        if "boom" in value:
            raise KeyError("missing")  # what a plugin's author might get wrong
        return value


TABLES = {
    "carp": ConfigTable(name="carp", model=Carp, summary="x"),
    "interfaces": ConfigTable(name="interfaces", model=Interfaces, summary="x"),
}
NODE = '[node]\nname = "fw1"\n'


def refused(text: str, **more: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load_whole(text, path="a.toml", tables=TABLES, **more)  # type: ignore[arg-type]
    return caught.value.message


def test_a_right_file_becomes_tables() -> None:
    text = NODE + '[carp]\nhold_s = 2\n[[carp.vip]]\nvhid = 1\naddresses = ["192.168.1.1/24"]\n'
    config = load(text, path="a.toml", tables=TABLES)
    assert list(config) == ["carp"]
    assert config[Carp].vip[0].vhid == 1
    assert config[Carp].hold_s == 2
    assert (config.node.name, config.text, config.path) == ("fw1", text, "a.toml")


def test_all_problems_are_reported_at_once_in_file_order_with_their_lines() -> None:
    message = refused(
        NODE
        + "\n[carp]\npreemt = true\n\n[[carp.vip]]\n"
        + 'advskew = "high"\npasswrd = "hunter2"\naddresses = ["192.168.1.1", "10.0.0.1/8"]\n\n[unknown]\n'
    )
    assert message.split("\n") == [
        'a.toml:5:1: carp.preemt: unknown key; did you mean "preempt"?',
        "     5 | preemt = true",
        "a.toml:7:1: carp.vip[0].vhid: this key is required and missing (Number of the virtual host)",
        "     7 | [[carp.vip]]",
        'a.toml:8:1: carp.vip[0].advskew: needs a whole number, not "high"',
        '     8 | advskew = "high"',
        'a.toml:9:1: carp.vip[0].passwrd: unknown key; did you mean "password"?',
        '     9 | passwrd = "**********"',
        "a.toml:10:14: carp.vip[0].addresses[0]: an address with its prefix length is needed, such as 192.168.1.1/24",
        '    10 | addresses = ["192.168.1.1", "10.0.0.1/8"]',
        "a.toml:12:1: unknown: no installed plugin owns this table; there are [node], [plugins], [carp] (plugin carp), "
        "[interfaces] (plugin interfaces)",
        "    12 | [unknown]",
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("vhid = 256", "vhid: must be at most 255, not 256"),
        ("vhid = 0", "vhid: must be at least 1, not 0"),
        ('vhid = "5"', 'vhid: needs a whole number, not "5": write 5 without quotes'),
        ("vhid = 1.5", "vhid: needs a whole number, not 1.5"),
        ("vhid = true", "vhid: needs a whole number, not true"),
        ("vhid = [1]", "vhid: needs a whole number, not a list"),
        ("password = 5", "password: needs text in quotes"),
        ('addresses = "10.0.0.1/8"', 'addresses: needs a list, not "10.0.0.1/8": write ["10.0.0.1/8"]'),
        (
            'addresses = ["10.0.0.300/8"]',
            "addresses[0]: needs an IPv4 address with its prefix length or an IPv6 address with its prefix length, "
            'not "10.0.0.300/8"',
        ),
        ("addresses = [5]", 'addresses[0]: needs text in quotes, not 5: write "5"'),
        ('profile = "fats"', 'profile: needs one of "book", "fast" or "custom", not "fats"; did you mean "fast"?'),
        ('mode = "x"', 'mode: needs a whole number or "auto", not "x"'),
        ("zzz = 1", "zzz: unknown key; known here: addresses, advskew, mode, password, profile, vhid"),
    ],
)
def test_each_kind_of_mistake_has_its_own_words(line: str, expected: str) -> None:
    text = NODE + "[[carp.vip]]\n" + ("" if line.startswith("vhid") else "vhid = 1\n") + line + "\n"
    first = refused(text).split("\n")[0]
    assert first.partition("carp.vip[0].")[2] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[carp]\npreempt = "yes"', 'carp.preempt: needs true or false, not "yes": write true without quotes'),
        ("[carp]\nhold_s = -1", "carp.hold_s: a duration in seconds greater than 0 is needed"),
        ('[carp]\nhold_s = "1"', 'carp.hold_s: needs a number, not "1": write 1 without quotes'),
        ("[carp]\nvip = 5", "carp.vip: needs a list, not 5: write [5]"),
        ("[carp]\nvip = [5]", "carp.vip[0]: needs a table, not 5"),
        ('[interfaces.lan.lan]\ndevice = ""', 'interfaces.lan.lan.device: must have at least 1 characters, not ""'),
        (
            '[interfaces.lan.lan]\ndevice = "x"\ngateway = "10.1"',
            'interfaces.lan.lan.gateway: needs an IPv4 address or an IPv6 address, not "10.1"',
        ),
        (
            '[interfaces.lan.lan]\ndevice = "x"\nnetwork = "10.0.0.1/8"',
            "interfaces.lan.lan.network: needs an IPv4 network (no bits set after the prefix) or "
            'an IPv6 network (no bits set after the prefix), not "10.0.0.1/8"',
        ),
        (
            '[interfaces.lan."Lan!"]\ndevice = "x"',
            'interfaces.lan."Lan!": must be a lower-case letter, then at most 14 lower-case letters, digits or '
            'underscores, not "Lan!"',
        ),
        ("[crap]", "crap: unknown table; did you mean [carp]?"),
        ("[[carp]]", "carp: must be a table: write [carp] on a line of its own"),
        (
            '[interfaces.lan.boom]\ndevice = "x"',
            "interfaces: the plugin interfaces failed on its own table: KeyError: 'missing'",
        ),
    ],
)
def test_each_kind_of_table_mistake_has_its_own_words(text: str, expected: str) -> None:
    assert refused(NODE + text + "\n").split("\n")[0].split(": ", 1)[1] == expected


def test_a_top_level_key_is_not_called_a_table() -> None:
    assert refused("preempt = 1\n" + NODE).startswith("a.toml:1:1: preempt: no installed plugin owns this key")


def test_a_missing_node_table_is_explained() -> None:
    assert refused("# nothing\n") == (
        'a.toml:1:1: node: the table [node] is required and missing; it says who this node is: name = "fw1"\n'
        "     1 | # nothing"
    )


def test_a_bad_node_name_is_explained_in_words() -> None:
    assert "node.name: must be a host name" in refused('[node]\nname = "a b"\n')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = b\n", "a.toml:1:5: this is not a value; text needs quotes\n     1 | a = b"),
        ("x = 1\n\nx = 2\ny = 3\n", "a.toml:3:6: this key was given before\n     3 | x = 2"),
        ("[a]\n[a]\n", "a.toml:2:3: this table was declared before\n     2 | [a]"),
        ("a = 1\nb\n", "a.toml:2:2: an equals sign is needed after the key\n     2 | b"),
        ('p = "x\n', "a.toml:1:7: "),
        ('a = "x', 'a.toml:1:7: this text has no closing quote\n     1 | a = "x'),
        ('key = 1\npassword = "hunter2\n', "a.toml:2:20: "),
    ],
)
def test_a_text_that_is_not_toml_is_refused_with_its_line(text: str, expected: str) -> None:
    message = refused(text)
    assert message.startswith(expected)
    assert "hunter2" not in message


def test_no_secret_is_ever_printed() -> None:
    message = refused(
        NODE
        + '[carp]\npairing_secret = ["hunter2"]\nx = 1\n'
        + '[[carp.vip]]\npassword = "hunter2" # and\nvhid = 999\npaswd = "hunter2"\n'
        + '[other]\nkey = 1\nmy_token = "hunter2"\n[secret_service]\nx = { api_secret = "hunter2" }\n'
    )
    assert "hunter2" not in message
    inline = refused(NODE + '[carp]\nvip = [{ vhid = 999, password = """\nhunter2""" }]\n')
    assert 'vip = [{ vhid = 999, password = "**********"' in inline
    assert "hunter2" not in inline


def test_both_places_of_a_conflict_are_printed() -> None:
    def verify(config: Config) -> list[Problem]:
        return [
            Problem(path=("carp", "vip", 1, "vhid"), message="VHID 1 is used twice", also=(("carp", "vip", 0, "vhid"),))
        ]

    message = refused(NODE + "[[carp.vip]]\nvhid = 1\n[[carp.vip]]\nvhid = 1\n", verify=verify)
    assert message.split("\n") == [
        "a.toml:6:1: carp.vip[1].vhid: VHID 1 is used twice",
        "     6 | vhid = 1",
        "a.toml:4:1: carp.vip[0].vhid: this belongs to it",
        "     4 | vhid = 1",
    ]


def test_cross_checks_wait_until_every_table_is_right_by_itself() -> None:
    def verify(config: Config) -> list[Problem]:
        raise AssertionError("asked with half a configuration")

    assert "preempt" in refused(NODE + "[carp]\npreempt = 1\n", verify=verify)


def test_warnings_refuse_nothing_and_are_returned() -> None:
    loaded = load_whole(
        NODE + "[carp]\nhold_s = 9\n",
        path="a.toml",
        tables=TABLES,
        verify=lambda _: [Problem(path=("carp", "hold_s"), message="is long", severity="warning")],
    )
    assert loaded.warnings == ("a.toml:4:1: warning: carp.hold_s: is long\n     4 | hold_s = 9",)


def test_thousands_of_problems_are_cut() -> None:
    message = refused(NODE + "[carp]\n" + "".join(f"x{i} = 1\n" for i in range(500)))
    assert message.endswith("… and 400 more")


BROKEN = {"pfsync": Unavailable(plugin="pfsync", reason="cannot be imported (distribution x 1.0): ImportError: y")}


def test_a_table_whose_plugin_is_broken_names_the_distribution() -> None:
    message = refused(NODE + "[pfsync]\nx = 1\n", unavailable=BROKEN)
    assert "pfsync: cannot be read: the plugin pfsync cannot be imported (distribution x 1.0)" in message


def test_a_table_whose_plugin_is_blocked_is_only_a_warning() -> None:
    loaded = load_whole(
        NODE + "[pfsync]\nx = 1\n",
        path="a.toml",
        tables=TABLES,
        unavailable={"pfsync": Unavailable(plugin="pfsync", reason="", blocked=True)},
    )
    assert list(loaded.config) == []
    assert "warning: pfsync: has no effect" in loaded.warnings[0]


def test_a_starting_node_leaves_out_only_the_plugin_whose_table_is_wrong() -> None:
    text = NODE + '[carp]\npreempt = 1\n[interfaces.lan.lan]\ndevice = "eth0"\n[pfsync]\n[nobody]\n'
    loaded = load_tolerant(text, path="a.toml", tables=TABLES, unavailable=BROKEN)
    assert list(loaded.config) == ["interfaces"]
    assert loaded.refused.keys() == {"carp"}
    assert loaded.refused["carp"].startswith("a.toml:4:1: carp.preempt: needs true or false, not 1")
    assert [line.split(": ")[1] for line in loaded.warnings] == ["pfsync", "nobody"]


def test_a_starting_node_leaves_out_what_depends_on_a_table_that_was_left_out() -> None:
    asked: list[list[str]] = []

    def verify(config: Config) -> list[Problem]:
        asked.append(list(config))
        return [Problem(path=("carp",), message="needs interfaces")] if "carp" in config else []

    loaded = load_tolerant(NODE + "[interfaces]\nx = 1\n[carp]\n", path="a.toml", tables=TABLES, verify=verify)
    assert asked == [["carp"], []]
    assert loaded.refused.keys() == {"carp", "interfaces"}


@pytest.mark.parametrize("text", ["a = b", "[node]\nname = 5\n", NODE + "[plugins]\nblocked = 5\n", "[carp]\n"])
def test_a_starting_node_refuses_a_file_whose_core_tables_are_wrong(text: str) -> None:
    with pytest.raises(ConfigError):
        load_tolerant(text, path="a.toml", tables=TABLES)


def test_a_starting_node_refuses_a_problem_that_belongs_to_no_table() -> None:
    with pytest.raises(ConfigError, match="impossible"):
        load_tolerant(NODE, path="a.toml", tables=TABLES, verify=lambda _: [Problem(path=(), message="impossible")])


def test_the_head_can_be_read_before_any_plugin_is_loaded() -> None:
    node, plugins = head(NODE + '[plugins]\nblocked = ["x"]\n[carp]\nbroken = 1\n', path="a.toml")
    assert (node.name, plugins.blocked) == ("fw1", ["x"])


def test_a_file_is_read_whole_with_windows_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xef\xbb\xbf" + NODE.replace("\n", "\r\n").encode())
    assert load(read_file(path), path=str(path), tables=TABLES).node.name == "fw1"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "there is no such configuration file"),
        (b"a = 1\nb = '\xff'\n", ":2: not valid UTF-8"),
        (b"#" * (FILE_MAX_BYTES + 1), "larger than 16384 KiB"),
    ],
)
def test_an_unusable_file_is_a_clear_error(tmp_path: Path, content: bytes | None, expected: str) -> None:
    path = tmp_path / "a.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_file(path)
    assert expected in caught.value.message
    assert caught.value.exit_code == 2


def test_a_directory_instead_of_a_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ApplianceError, match="cannot be read"):
        read_file(tmp_path)


@pytest.mark.parametrize("text", ["x = " + "[" * 5000 + "]" * 5000, "x" + ".x" * 2000 + " = 1"])
def test_absurd_nesting_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        load(text, path="a.toml", tables=TABLES)
