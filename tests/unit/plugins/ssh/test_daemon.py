"""What sshd is given: its configuration, and a host key of its own."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance_ssh import daemon
from appliance_ssh.accounts import Places


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.setattr(daemon, "PRIVSEP", tmp_path / "privsep")
    return Places(runtime=tmp_path / "run")


def settings(text: str) -> dict[str, str]:
    return dict(line.split(" ", 1) for line in text.splitlines() if not line.startswith("#"))


def test_the_host_key_is_made_once_and_is_of_this_node_alone(places: Places, tmp_path: Path) -> None:
    first = daemon.prepare(places, tmp_path, 60)
    key = tmp_path / daemon.HOST_KEY
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    shown = subprocess.run(["ssh-keygen", "-lf", str(key)], capture_output=True, text=True, check=True).stdout
    assert shown.split()[1] == first
    assert daemon.prepare(places, tmp_path, 60) == first
    key.unlink()
    assert daemon.prepare(places, tmp_path, 60) != first


def test_only_keys_of_users_open_a_console_and_nothing_else(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPLIANCE_SOCKET", "/run/x y/control.sock")
    found = settings(daemon.configuration(places, Path("/state/key"), 900))
    assert found["HostKey"] == "/state/key"
    assert found["AuthorizedKeysFile"] == f"{places.runtime}/keys/%u"
    assert found["AuthenticationMethods"] == "publickey"
    for name in ("PasswordAuthentication", "KbdInteractiveAuthentication", "PermitRootLogin", "UsePAM"):
        assert found[name] == "no"
    assert found["DisableForwarding"] == "yes"
    assert "Subsystem" not in found
    assert found["ChannelTimeout"] == "session*=900"
    assert '"APPLIANCE_SOCKET=/run/x y/control.sock"' in found["SetEnv"]


def test_sessions_without_a_limit_have_none(places: Places) -> None:
    assert "ChannelTimeout" not in settings(daemon.configuration(places, Path("/state/key"), 0))


def test_it_is_started_for_one_connection(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "find", lambda name: f"/usr/sbin/{name}")
    limits, sshd = daemon.argv(places)[1:-5], daemon.argv(places)[-5:]
    assert sshd == ["/usr/sbin/sshd", "-i", "-e", "-f", str(places.runtime / "sshd_config")]
    assert "--rtprio=0:0" in limits


def test_what_is_missing_is_said_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(daemon, "_PLACES", "/nonexistent")
    with pytest.raises(ApplianceError, match="sshd is not installed\nInstall the package openssh-server"):
        daemon.find("sshd")
    with pytest.raises(ApplianceError, match="`appliance` is not in the path"):
        daemon.find_shell()


def test_a_host_key_that_cannot_be_made_is_an_error(places: Places, tmp_path: Path) -> None:
    with pytest.raises(ApplianceError, match="cannot make a host key: "):
        daemon.prepare(places, tmp_path / "absent", 60)
