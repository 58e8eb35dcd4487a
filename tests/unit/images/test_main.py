"""The commands alone behave as they do within `appliance`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance_images.__main__ import main


def test_a_command_prints_what_it_returns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["image", "key", str(tmp_path / "key"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["public"].startswith("appliance-image-public:")


def test_errors_have_two_lines_and_a_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["image", "list"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "appliance: this machine does not run from an image, so it has no system slots"
    assert len(said) == 2
    assert main(["image", "nonsense"]) == 2


def test_help_explains_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["image", "add", "--help"]) == 0
    assert "slot that does not run" in capsys.readouterr().out
