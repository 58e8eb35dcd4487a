"""A configuration as `set` commands, which make the same configuration again."""

from appliance.console.shell.setlines import set_lines


def test_every_value_has_its_command() -> None:
    data = {
        "node": {"name": "fw1"},
        "carp": {"preempt": True, "vip": [{"name": "lan", "vhid": 1, "addresses": ["192.168.1.1/24", "::1/64"]}]},
        "firewall": {"rule": [{"interface": "lan", "description": "Allow it"}, {"source_port": "80", "log": False}]},
    }
    assert list(set_lines(data)) == [
        "set node name fw1",
        "set carp preempt true",
        "set carp vip lan vhid 1",
        "set carp vip lan addresses 192.168.1.1/24 ::1/64",
        "set firewall rule 0 interface lan",
        'set firewall rule 0 description "Allow it"',
        'set firewall rule 1 source_port "80"',
        "set firewall rule 1 log false",
    ]


def test_below_a_place_the_whole_path_is_named() -> None:
    assert list(set_lines({"vhid": 3}, ("carp", "vip", "lan"))) == ["set carp vip lan vhid 3"]


def test_an_item_that_has_only_a_name_is_not_lost() -> None:
    assert list(set_lines({"vip": [{"name": "lan"}]})) == ["set vip 0 name lan"]


def test_text_that_looks_like_something_else_keeps_its_quotes() -> None:
    assert list(set_lines({"a": "true", "b": "5", "c": "x|y", "d": ""})) == [
        'set a "true"',
        'set b "5"',
        'set c "x|y"',
        'set d ""',
    ]
