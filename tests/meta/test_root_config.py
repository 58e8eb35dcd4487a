"""The example configuration at the top is complete, valid and explained."""

from __future__ import annotations

import tomllib

from appliance.config.loader import load
from appliance.host.discovery import discover
from appliance.host.plugins import Plugins
from tests.meta.source import ROOT

PATH = ROOT / "appliance.toml"


def test_the_example_configuration_loads() -> None:
    plugins = Plugins(discover())
    plugins.enable(tomllib.loads(PATH.read_text()))
    config = load(PATH.read_text(), path=str(PATH), tables=plugins.tables(), verify=lambda c: plugins.verify(c, None))
    assert config.node.role == "primary"
    assert {"interfaces", "carp"} <= set(config.tables)


def test_the_example_configuration_is_that_of_the_example_cluster() -> None:
    text = PATH.read_text()
    for address in ("198.51.100.200", "198.51.100.201", "192.168.1.1", "192.168.1.2", "172.16.1.2"):
        assert address in text


def test_the_example_configuration_explains_itself() -> None:
    lines = [line for line in PATH.read_text().splitlines() if line.strip()]
    assert sum("#" in line for line in lines) >= len(lines) // 4
