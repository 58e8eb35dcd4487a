import socket
from pathlib import Path

import pytest

from appliance import cli


def failure(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    status = cli.main(["run", *argv])
    message, hint = capsys.readouterr().err.splitlines()
    assert message.startswith("appliance: ")
    assert hint.startswith("  ")
    return status, message.removeprefix("appliance: "), hint.strip()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "appliance.toml"
    path.write_text('[node]\nname = "fw1"\n')
    return path


def test_a_missing_configuration_is_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, message, hint = failure(capsys, "-c", str(tmp_path / "absent.toml"))
    assert status == 2
    assert message == f"the configuration {tmp_path}/absent.toml does not exist"
    assert "-c FILE" in hint


def test_a_configuration_that_is_a_directory_is_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, message, _ = failure(capsys, "-c", str(tmp_path))
    assert status == 2
    assert message.endswith("cannot be read: Is a directory")


def test_a_state_directory_that_cannot_be_made_is_status_1(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    status, message, hint = failure(capsys, "-c", str(config), "--state-dir", str(tmp_path / "file" / "state"))
    assert status == 1
    assert "cannot be made" in message
    assert "--state-dir" in hint


def test_a_socket_that_a_node_answers_on_is_refused_before_anything_starts(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_UNIX) as node:
        node.bind(str(tmp_path / "s"))
        node.listen(1)
        status, message, _ = failure(
            capsys, "-c", str(config), "--state-dir", str(tmp_path / "state"), "--socket", str(tmp_path / "s")
        )
    assert status == 1
    assert message == f"a node is already running on {tmp_path}/s"
