"""Who is in, who was not let in, and who has to leave; sshd itself is in ``tests/netns/ssh``."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance.events import Health, Status
from appliance.testing import eventually
from appliance_ssh import service
from appliance_ssh.config import settings_of
from appliance_ssh.events import LoginRefused, SessionClosed, SessionOpened
from tests.unit.plugins.ssh.doors import BOB, OLGA, Run, hears, knock, serving

pytestmark = pytest.mark.usefixtures("machine")


async def test_a_session_is_told_shown_and_ended(run_service: Run) -> None:
    async with serving(run_service) as (node, port):
        async with await knock(port, "olga") as olga:
            assert await hears(olga) == b"welcome\n"
            await eventually(lambda: bool(node.events(SessionOpened)))
            (session,) = (await node.command("show ssh"))["sessions"]
            assert (session["user"], session["source"], session["interface"]) == ("olga", "127.0.0.1", "lo")
            assert [each.user for each in node.events(SessionOpened)] == ["olga"]
            assert await node.command(f"ssh disconnect {session['number']}") == {
                "result": f"session {session['number']} of olga from 127.0.0.1 ended"
            }
            assert await hears(olga) == b""
        await eventually(lambda: bool(node.events(SessionClosed)))
        assert [each.user for each in node.events(SessionClosed)] == ["olga"]
        assert (await node.command("show ssh"))["sessions"] == []
        assert "appliance_ssh_logins_total 1" in node.metrics.exposition()
        with pytest.raises(ApplianceError, match="there is no session 99"):
            await node.command("ssh disconnect 99")


async def test_who_goes_is_no_longer_shown(run_service: Run) -> None:
    async with serving(run_service) as (node, port):
        olga = await knock(port, "olga")
        await hears(olga)
        await olga.aclose()
        await eventually(lambda: bool(node.events(SessionClosed)))
        assert (await node.command("show ssh"))["sessions"] == []


async def test_a_key_that_no_longer_counts_lets_nobody_in_whatever_sshd_believed(run_service: Run) -> None:
    async with serving(run_service) as (node, port):
        async with await knock(port, "olga", BOB) as olga:
            await hears(olga)
            assert await hears(olga) == b""
        await eventually(lambda: bool(node.log("session_refused")))
        assert node.events(SessionOpened) == []
        assert node.log("session_refused")[0]["user"] == "olga"


async def test_refused_logins_are_told_and_a_flood_of_them_is_counted(
    run_service: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "TOLD_MAX", 1)
    async with serving(run_service) as (node, port):
        for _ in range(2):
            async with await knock(port, "mallory") as mallory:
                assert await hears(mallory) == b""
        await eventually(lambda: "appliance_ssh_logins_refused_total 2" in node.metrics.exposition())
        assert [(each.user, each.unreported) for each in node.events(LoginRefused)] == [("mallory", 0)]
        monkeypatch.setattr(service, "TOLD_S", 0.0)
        async with await knock(port, "mallory") as mallory:
            assert await hears(mallory) == b""
        await eventually(lambda: len(node.events(LoginRefused)) == 2)
        assert node.events(LoginRefused)[-1].unreported == 1


async def test_all_places_taken_means_one_session_more_is_refused(
    run_service: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "SESSIONS_MAX", 1)
    async with serving(run_service, olga=OLGA, bob=BOB) as (node, port):
        olga, bob = await knock(port, "olga"), await knock(port, "bob", BOB)
        await eventually(lambda: bool(node.log("session_refused")))
        assert len((await node.command("show ssh"))["sessions"]) == 1
        for each in (olga, bob):
            await each.aclose()


async def test_one_user_does_not_fill_the_node(run_service: Run) -> None:
    async with serving(run_service) as (node, port):
        streams = []
        for _ in range(9):
            streams.append(await knock(port, "olga"))
            await hears(streams[-1])
        assert await hears(streams[-1]) == b""
        await eventually(lambda: len(node.events(SessionOpened)) == 8)
        assert len((await node.command("show ssh"))["sessions"]) == 8
        for each in streams:
            await each.aclose()


async def test_the_status_says_where_it_listens_and_the_key_of_the_host_is_kept(
    run_service: Run, machine: Path
) -> None:
    async with serving(run_service) as (node, _):
        assert [each.health for each in node.retained(Status)] == [Health.OK]
        data = await node.command("show ssh")
        assert data["listening"][0]["listening"]
        assert data["host_key"].startswith("SHA256:")
        assert (await node.check("ssh-reachable")).health is Health.OK
        assert settings_of(node.config).accounts[0].name == "olga"
    assert "AuthenticationMethods publickey" in (machine / "run" / "sshd_config").read_text()
