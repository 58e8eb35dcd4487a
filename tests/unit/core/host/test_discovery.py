"""Discovery tells what is installed and by whom, and imports nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from appliance.host.discovery import ISOLATED, discover

GROUP = "appliance.test_discovery"


def install(directory: Path, distribution: str, points: str, isolated: str = "") -> None:
    """What an installer leaves behind of a distribution."""
    info = directory / f"{distribution.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{points}\n[{ISOLATED}]\n{isolated}\n")


def test_plugins_are_found_with_their_distribution_and_imported_on_demand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "discovered_plugin.py").write_text("class Hello:\n    api = (1, 0)\n")
    install(tmp_path, "appliance-plugin-hello", "hello = discovered_plugin:Hello\ngone = missing_module:Gone")
    gone, hello = discover(GROUP)
    assert (hello.name, hello.distribution, hello.error) == ("hello", "appliance-plugin-hello", None)
    assert "discovered_plugin" not in sys.modules
    assert hello.factory is not None
    one, two = hello.factory(), hello.factory()
    assert type(one).__name__ == "Hello"
    assert one is not two
    assert gone.factory is not None
    with pytest.raises(ModuleNotFoundError, match="missing_module"):
        gone.factory()
    del sys.modules["discovered_plugin"]


def test_a_bundled_plugin_cannot_be_replaced_by_another_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    install(tmp_path, "aaa-evil", "carp = evil:Carp\nzeta = evil:Zeta")
    install(tmp_path, "bbb-other", "zeta = other:Zeta")
    # Metadata with the name of our own distribution, found before the installed one.
    install(tmp_path, "ha-appliance", "carp = appliance_carp.plugin:Carp")
    assert [(each.name, each.distribution, each.error) for each in discover(GROUP)] == [
        ("carp", "ha-appliance", None),
        ("carp@aaa-evil", "aaa-evil", "the name carp belongs to the plugin of ha-appliance"),
        ("zeta", "aaa-evil", None),
        ("zeta@bbb-other", "bbb-other", "the name zeta belongs to the plugin of aaa-evil"),
    ]


def test_what_a_plugin_wants_to_be_loaded_ahead_is_declared_by_its_own_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    install(tmp_path, "aaa-other", "", isolated="hello/it = other.service")
    isolated = "hello/it = hello.service\nhello/too = hello.more"
    install(tmp_path, "bbb-hello", "hello = hello:Hello\nplain = hello:Plain", isolated=isolated)
    assert [(each.name, each.isolated) for each in discover(GROUP)] == [
        ("hello", {"hello/it": "hello.service", "hello/too": "hello.more"}),
        ("plain", {}),
    ]


def test_the_bundled_plugins_are_installed() -> None:
    bundled = [each.name for each in discover() if each.distribution == "ha-appliance"]
    assert bundled == [
        "carp",
        "dhcp-failover",
        "drill",
        "firewall",
        "gateways",
        "images",
        "interfaces",
        "lagg",
        "metrics",
        "notify",
        "outbound-nat",
        "pfsync",
        "ssh",
        "users",
        "xmlrpc-sync",
    ]
