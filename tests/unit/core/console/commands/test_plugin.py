import json

import pytest

from appliance import cli
from appliance.console.commands.plugin import plugin_list, plugin_show
from appliance.errors import UsageError


def test_installed_plugins_are_listed_without_a_node() -> None:
    rows = {row["name"]: row for row in plugin_list()}
    assert rows["carp"]["distribution"] == "ha-appliance"
    assert rows["carp"]["state"] == "loaded"


def test_everything_a_plugin_contributes_is_shown_and_is_plain_data() -> None:
    row = plugin_show("carp")
    assert json.loads(json.dumps(row)) == row
    keys = {field["key"]: field for field in row["table"]["fields"]}
    assert keys["vip[].vhid"]["doc"]
    assert keys["vip[].advskew"]["scope"] == "mirrored"
    assert any(command["command"] == "appliance show carp" for command in row["commands"])
    assert row["failures"] == []


def test_the_page_of_a_plugin_is_readable(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plugin", "show", "carp"]) == 0
    page = capsys.readouterr().out
    assert "[carp]" in page
    assert "  vip[].vhid  (whole number, required, shared)" in page
    assert "appliance ha maintenance on|off" in page
    assert cli.main(["plugin", "list"]) == 0
    assert "carp" in capsys.readouterr().out


def test_an_unknown_plugin_names_what_was_meant() -> None:
    with pytest.raises(UsageError) as refused:
        plugin_show("crap")
    assert refused.value.hint.startswith("Did you mean carp? Installed: carp")
