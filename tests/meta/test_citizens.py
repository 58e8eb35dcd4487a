"""The bundled plugins satisfy what is asked of third parties, with the example configuration."""

from __future__ import annotations

import inspect
import tomllib
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

import pytest

from appliance.config import Config, Model
from appliance.config.model import NodeTable
from appliance.testing import LogicalInterfaces, check_plugin
from tests.meta.source import ROOT

EXAMPLE = tomllib.loads((ROOT / "appliance.toml").read_text())
BUNDLED = sorted(
    (entry for entry in entry_points(group="appliance.plugins") if entry.dist and entry.dist.name == "ha-appliance"),
    key=lambda entry: entry.name,
)
AHEAD = {entry.name: entry.value for entry in entry_points(group="appliance.isolated")}


NEEDS = {"dhcp-failover": ("carp", "xmlrpc-sync"), "images": ("xmlrpc-sync",)}
"""Whose tables a plugin's example makes no sense without."""


TABLES = {"images": {"interface": "sync"}, "ssh": {"listen": ["lan"]}}
"""Tables that the example has in comments, because they are of no use where it is tried."""


def table_of(name: str) -> Any:
    """The example's table of another plugin, as its own model."""
    (entry,) = [each for each in BUNDLED if each.name == name]
    declared = entry.load()().appliance_config()
    return declared.model.model_validate(EXAMPLE[declared.name])


def table_in_example(name: str) -> Any:
    """The example's table of a plugin, as it is written."""
    return TABLES.get(name) or EXAMPLE.get(name.replace("-", "_"), {})


def other_tables(name: str) -> dict[str, Model]:
    """What a plugin reads of others."""
    interfaces = EXAMPLE["interfaces"]
    names = {name: table["addresses"] for name, table in interfaces.items() if isinstance(table, dict)}
    tables: dict[str, Model] = {} if name == "interfaces" else {"interfaces": LogicalInterfaces.of(**names)}
    return tables | {each.replace("-", "_"): table_of(each) for each in NEEDS.get(name, ())}


@pytest.mark.parametrize("entry", BUNDLED, ids=lambda entry: entry.name)
def test_bundled_plugins_are_good_citizens(entry: Any) -> None:
    # Their services need a real kernel; those are tested in tests/netns.
    check_plugin(entry.load(), config=table_in_example(entry.name), tables=other_tables(entry.name), start=False)


def isolated_services(entry: Any) -> dict[str, str]:
    """Full names of the isolated services of a plugin with the example configuration, and where they are."""
    plugin = entry.load()()
    if not hasattr(plugin, "appliance_services"):
        return {}
    tables = other_tables(entry.name)
    if hasattr(plugin, "appliance_config"):
        table = plugin.appliance_config()
        tables[table.name] = table.model.model_validate(table_in_example(entry.name))
    config = Config(tables, node=NodeTable(name="fw1"))
    takes_config = "config" in inspect.signature(plugin.appliance_services).parameters
    services = plugin.appliance_services(config=config) if takes_config else plugin.appliance_services()
    return {f"{entry.name}/{item.key}": item.run.__module__ for item in services if item.isolation is not None}


@pytest.mark.parametrize("entry", BUNDLED, ids=lambda entry: entry.name)
def test_plugins_with_an_isolated_service_say_what_its_process_may_load_ahead(entry: Any) -> None:
    isolated = isolated_services(entry)
    ahead = {name: module for name, module in AHEAD.items() if name.partition("/")[0] == entry.name}
    assert sorted(ahead) == sorted(isolated)
    for name, module in ahead.items():
        table = entry.load()().appliance_config().name
        assert table == entry.name.replace("-", "_"), "the plugin is expected where the table of its name is"
        assert module.partition(".")[0] == isolated[name].partition(".")[0]
        import_module(module)
