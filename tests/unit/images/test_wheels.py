"""Wheels are unpacked without what an image does not need, and our own distribution with the chosen plugins only."""

from __future__ import annotations

import configparser
import json
import zipfile
from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance_images import wheels
from appliance_images.lock import Pin

METADATA = """\
Metadata-Version: 2.1
Name: hello
Version: 1.0
License-Expression: MIT
Requires-Dist: trio >=0.31
Requires-Dist: ha-appliance
Requires-Dist: pytest ; extra == 'test'
"""
FILES = {
    "hello/__init__.py": "",
    "hello/data.txt": "x",
    "hello/tests/test_it.py": "",
    "hello/types.pyi": "",
    "hello-1.0.data/purelib/more/__init__.py": "",
    "hello-1.0.data/scripts/tool": "",
    "hello-1.0.dist-info/METADATA": METADATA,
    "hello-1.0.dist-info/RECORD": "",
}


def wheel(folder: Path, files: dict[str, str]) -> Path:
    path = folder / "hello-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def test_only_what_runs_is_unpacked(tmp_path: Path) -> None:
    wheels.unpack(wheel(tmp_path, FILES), tmp_path / "site")
    found = sorted(
        str(path.relative_to(tmp_path / "site")) for path in (tmp_path / "site").rglob("*") if path.is_file()
    )
    assert found == ["hello-1.0.dist-info/METADATA", "hello/__init__.py", "hello/data.txt", "more/__init__.py"]
    assert list(wheels.licences(tmp_path / "site")) == [{"name": "hello", "version": "1.0", "licence": "MIT"}]


def test_a_wheel_cannot_write_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(ApplianceError, match="outside of its folder"):
        wheels.unpack(wheel(tmp_path, {"../evil.py": ""}), tmp_path / "site")
    assert not (tmp_path / "evil.py").exists()


def test_what_a_plugin_needs_besides_us(tmp_path: Path) -> None:
    assert wheels.wheel_requirements(wheel(tmp_path, FILES)) == ["trio>=0.31"]


def test_versions_are_those_that_are_installed_here() -> None:
    import trio

    assert f"trio=={trio.__version__}" in wheels.own_requirements()
    assert not any(line.startswith("pytest") for line in wheels.own_requirements())


def test_plugins_that_were_not_chosen_are_not_there(tmp_path: Path) -> None:
    wheels.copy_own(tmp_path, ["appliance_carp"], ["carp"])
    assert sorted(path.name for path in tmp_path.glob("appliance*")) == ["appliance", "appliance_carp"]
    points = configparser.ConfigParser()
    points.read(tmp_path.glob("*.dist-info/entry_points.txt"))
    assert dict(points["appliance.plugins"]) == {"carp": "appliance_carp.plugin:Carp"}
    assert dict(points["appliance.isolated"]) == {"carp/heartbeat": "appliance_carp.heartbeat"}


def test_a_wheel_that_changed_is_refused(tmp_path: Path) -> None:
    pin = wheels.pinned(wheel(tmp_path, FILES))
    wheels.verify(tmp_path, [pin])
    changed = Pin(name=pin.name, version=pin.version, file=pin.file, sha256="0" * 64)
    with pytest.raises(ApplianceError, match="with the hash that the lock file names"):
        wheels.verify(tmp_path, [changed])


def test_a_wheel_that_is_there_already_is_not_downloaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloaded = []

    def pip(*argv: str | Path, **_: object) -> str:
        """Writes its report as pip does; only `download` makes a file."""
        words = [str(word) for word in argv]
        if "--report" in words:
            found = [
                {
                    "metadata": {"name": name, "version": "1+x"},
                    "download_info": {"url": f"https://pypi/{name}-1%2Bx-any.whl"},
                }
                for name in ("one", "two")
            ]
            Path(words[words.index("--report") + 1]).write_text(json.dumps({"install": found}))
        else:
            downloaded.append(words[-1])
            (tmp_path / "two-1+x-any.whl").write_bytes(b"two")
        return ""

    monkeypatch.setattr(wheels, "run", pip)
    (tmp_path / "one-1+x-any.whl").write_bytes(b"one")
    for _ in range(2):
        assert [pin.name for pin in wheels.download(tmp_path, ["one", "two"])] == ["one", "two"]
    assert downloaded == ["two==1+x"]
