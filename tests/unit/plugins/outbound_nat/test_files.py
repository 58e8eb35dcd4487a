"""Files of the local command: read with the installed plugins' models, replaced as a whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.errors import ApplianceError, ConfigError
from appliance_outbound_nat import files
from appliance_outbound_nat.config import OutboundNatConfig

TEXT = """
[node]
name = "fw1"
[interfaces.wan]
device = "wan0"
addresses = ["198.51.100.201/24"]
"""


def test_the_tables_of_all_installed_plugins_are_understood(tmp_path: Path) -> None:
    loaded = files.load(f'{TEXT}[outbound_nat]\nmode = "disabled"\n', tmp_path / "a.toml")
    assert loaded[OutboundNatConfig].mode == "disabled"
    assert "interfaces" in loaded.tables


def test_a_file_without_the_table_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no table \[outbound_nat\]"):
        files.load(TEXT, tmp_path / "a.toml")


def test_problems_are_told_with_their_line(tmp_path: Path) -> None:
    rule = '[outbound_nat]\nmode = "manual"\n[[outbound_nat.rule]]\ninterface = "wan"\ntranslation = "vip:x"\n'
    with pytest.raises(ConfigError, match=r"a\.toml:11:\d+: .*there is no virtual host 'x'"):
        files.load(f"{TEXT}{rule}", tmp_path / "a.toml")


def test_a_missing_file_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such configuration file"):
        files.read(tmp_path / "a.toml")


def test_a_plugin_that_cannot_be_imported_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Broken:
        name = "broken"

        def load(self) -> object:
            raise ImportError("no module")

    every = files.entry_points

    monkeypatch.setattr(files, "entry_points", lambda group: [Broken(), *every(group=group)])
    assert files.load(f"{TEXT}[outbound_nat]\n", tmp_path / "a.toml")[OutboundNatConfig].mode == "automatic"


def test_a_file_is_replaced_with_its_mode_and_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("old")
    path.chmod(0o640)
    files.write("new\r\n", path)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new\r\n", 0o640)
    assert os.listdir(tmp_path) == ["a.toml"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.toml").write_text("old")
    (tmp_path / "a.toml").symlink_to("real.toml")
    files.write("new", tmp_path / "a.toml")
    assert (tmp_path / "a.toml").is_symlink()
    assert (tmp_path / "real.toml").read_text() == "new"


def test_what_cannot_be_written_is_told_and_nothing_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "a.toml"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ApplianceError, match="cannot be written: No space left on device"):
        files.write("new", path)
    assert (os.listdir(tmp_path), path.read_text()) == (["a.toml"], "old")
