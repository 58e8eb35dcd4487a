"""Plugins are asked in a process of their own: which go into an image, and what they need."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import UsageError
from appliance_images.declared import ask
from tests.meta.source import ROOT

HELLO = ROOT / "examples/appliance-plugin-hello"


def names(*arguments: object) -> list[str]:
    return [plugin.name for plugin in ask(*arguments)]  # type: ignore[arg-type]


def test_only_plugins_with_a_table_are_chosen(tmp_path: Path) -> None:
    config = tmp_path / "appliance.toml"
    config.write_text('[node]\nname = "fw1"\n[interfaces.lan]\ndevice = "eth0"\naddresses = ["192.0.2.1/24"]\n')
    chosen = ask("vm", config, ["carp"], [])
    assert [plugin.name for plugin in chosen] == ["carp", "images", "interfaces"]
    assert "iproute2" in chosen[2].part.packages
    assert chosen[2].part.sysctls["net.ipv4.ip_forward"] == "1"


def test_a_wrong_configuration_is_refused_with_its_lines(tmp_path: Path) -> None:
    config = tmp_path / "appliance.toml"
    config.write_text('[node]\nname = "fw1"\n[interfaces.lan]\ndevice = 5\n')
    with pytest.raises(UsageError, match=r"appliance\.toml:4:"):
        ask("vm", config, [], [])


def test_a_plugin_that_is_not_installed_here_is_asked_where_it_is(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no plugin hello"):
        ask("vm", None, ["hello"], [])
    info = tmp_path / "appliance_plugin_hello-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: appliance-plugin-hello\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[appliance.plugins]\nhello = appliance_hello.plugin:Hello\n")
    (hello,) = (plugin for plugin in ask("vm", None, ["hello"], [tmp_path, HELLO]) if plugin.name == "hello")
    assert (hello.distribution, hello.package) == ("appliance-plugin-hello", "appliance_hello")
