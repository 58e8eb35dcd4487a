"""The bundled plugins satisfy what is asked of third parties, with the example configuration."""

from __future__ import annotations

import tomllib
from importlib.metadata import entry_points
from typing import Any

import pytest

from appliance.testing import LogicalInterfaces, check_plugin
from tests.meta.source import ROOT

EXAMPLE = tomllib.loads((ROOT / "appliance.toml").read_text())
BUNDLED = sorted(
    (entry for entry in entry_points(group="appliance.plugins") if entry.dist and entry.dist.name == "ha-appliance"),
    key=lambda entry: entry.name,
)


NEEDS = {"dhcp-failover": ("carp", "xmlrpc-sync"), "images": ("xmlrpc-sync",)}
"""Whose tables a plugin's example makes no sense without."""


TABLES = {"images": {"interface": "sync"}, "ssh": {"listen": ["lan"]}}
"""Tables that the example has in comments, because they are of no use where it is tried."""


def table_of(name: str) -> Any:
    """The example's table of another plugin, as its own model."""
    (entry,) = [each for each in BUNDLED if each.name == name]
    declared = entry.load()().appliance_config()
    return declared.model.model_validate(EXAMPLE[declared.name])


@pytest.mark.parametrize("entry", BUNDLED, ids=lambda entry: entry.name)
def test_bundled_plugins_are_good_citizens(entry: Any) -> None:
    interfaces = EXAMPLE["interfaces"]
    names = {name: table["addresses"] for name, table in interfaces.items() if isinstance(table, dict)}
    tables = {} if entry.name == "interfaces" else {"interfaces": LogicalInterfaces.of(**names)}
    tables |= {name.replace("-", "_"): table_of(name) for name in NEEDS.get(entry.name, ())}
    config = TABLES.get(entry.name) or EXAMPLE.get(entry.name.replace("-", "_"), {})
    # Their services need a real kernel; those are tested in tests/netns.
    check_plugin(entry.load(), config=config, tables=tables, start=False)
