"""Whom a node trusts, and the side of a pairing that is given the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import ApplianceError, RefusedError
from appliance.events import Status
from appliance.identity.store import IdentityStore
from appliance.rpc import NotAcceptedError
from appliance.testing import eventually
from appliance_xmlrpc_sync.events import PeersPaired
from appliance_xmlrpc_sync.introductions import pin, plain
from tests.unit.plugins.xmlrpc_sync.nodes import FW2, Pair, Start


def store(paired: Pair, name: str) -> IdentityStore:
    return IdentityStore(paired.folder / name / "xmlrpc_sync")


async def test_both_nodes_pin_each_other_and_share_a_secret(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        (fw2,) = store(paired, "fw1").peers()
        (fw1,) = store(paired, "fw2").peers()
        assert (fw2.name, fw2.address) == ("fw2", FW2)
        assert fw1.certificate == store(paired, "fw1").identity("fw1").certificate
        keyring = store(paired, "fw1").keyring()
        assert keyring is not None
        assert keyring == store(paired, "fw2").keyring()
        assert [each.peers for each in paired.two.retained(PeersPaired)] == [("fw1",)]


async def test_pairing_again_replaces_the_pin_and_keeps_the_secret(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        secret = store(paired, "fw2").keyring()
        old = store(paired, "fw2").peers()
        await paired.one.command("pair reset --force")
        await paired.introduce()
        new = store(paired, "fw2").peers()
        assert [each.name for each in new] == [each.name for each in old] == ["fw1"]
        assert new[0].certificate != old[0].certificate
        assert store(paired, "fw2").keyring() == secret == store(paired, "fw1").keyring()
        assert (await paired.push("web"))["applied"] == ["rules"]


async def test_a_node_that_was_removed_is_cut_off_at_once(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        async with paired.client() as client:
            assert await client.call("appliance.config_digest")
            await paired.two.command("pair remove fw1")
            with pytest.raises(ApplianceError):
                await client.call("appliance.config_digest")
        summary = "this node is not paired with any other"
        await eventually(lambda: summary in [each.summary for each in paired.two.retained(Status)])


async def test_a_node_that_is_not_paired_is_not_let_in(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        await paired.one.command("pair reset --force")
        own = paired.folder / "fw1" / "xmlrpc_sync"
        certificate = store(paired, "fw2").identity("fw2").certificate
        pin(own, "fw2").write_text(certificate.pem)
        async with paired.client() as client:
            with pytest.raises(NotAcceptedError, match="does not accept the certificate"):
                await client.call("appliance.config_digest")


async def test_a_node_that_cannot_be_removed_stays_trusted(pair: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ApplianceError("it cannot be removed: Read-only file system", hint="Make room.")

    async with pair() as paired:
        await paired.introduce()
        monkeypatch.setattr(IdentityStore, "remove_peer", refuse)
        with pytest.raises(ApplianceError, match="Read-only file system"):
            await paired.two.command("pair remove fw1")
        assert [each["name"] for each in (await paired.two.command("pair list"))["peers"]] == ["fw1"]
        await paired.push("web")


async def test_what_is_left_of_an_identity_that_could_not_be_reset_is_read_again(
    pair: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ApplianceError("it cannot be removed: Read-only file system", hint="Make room.")

    async with pair() as paired:
        await paired.introduce()
        monkeypatch.setattr(IdentityStore, "reset", refuse)
        with pytest.raises(ApplianceError, match="Read-only file system"):
            await paired.two.command("pair reset --force")
        assert [each["name"] for each in (await paired.two.command("pair list"))["peers"]] == ["fw1"]


async def test_to_remove_somebody_unknown_names_those_who_are_known(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        with pytest.raises(RefusedError, match="not paired with 'fw9'") as error:
            await paired.one.command("pair remove fw9")
        assert "fw2" in error.value.hint


async def test_when_nobody_listens_the_operator_is_told_to_let_the_other_node_listen(pair: Start) -> None:
    async with pair() as paired:
        with pytest.raises(ApplianceError, match=rf"nobody listens for a pairing at {FW2}:\d+") as error:
            await paired.one.command(f"pair {FW2} --code ABCD-EFGH")
        assert "appliance pair --listen" in error.value.hint


async def test_a_wrong_code_is_refused_on_both_sides_with_one_sentence(pair: Start) -> None:
    async with pair() as paired:
        async with paired.code() as code:
            wrong = "0000-0001" if code == "0000-0000" else "0000-0000"
            with pytest.raises(
                RefusedError, match="the code is wrong, or somebody is in between; tries left: 4"
            ) as error:
                await paired.one.command(f"pair {FW2} --code {wrong}")
            assert error.value.hint == "Compare the fingerprints on both nodes, and check the code."
        assert store(paired, "fw1").peers() == store(paired, "fw2").peers() == ()


async def test_a_node_does_not_pair_with_itself(pair: Start) -> None:
    async with pair() as paired, paired.code() as code:
        with pytest.raises(RefusedError, match="both nodes are called fw2"):
            await paired.two.command(f"pair {FW2} --code {code}")


async def test_a_damaged_identity_is_told_and_can_be_made_anew(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
    (paired.folder / "fw2" / "xmlrpc_sync" / "identity" / "own.key").unlink()
    async with pair() as paired:
        peers = await paired.two.command("pair list")
        assert "own.key is missing" in peers["error"]
        assert "appliance pair reset" in peers["remedy"]
        assert any(peers["error"] == status.summary for status in paired.two.retained(Status))
        with pytest.raises(ApplianceError, match=r"own\.key is missing"):
            await paired.two.command("pair --listen")
        await paired.two.command("pair reset --force")
        assert (await paired.two.command("pair list"))["error"] == ""
        await paired.introduce()


async def test_a_pairing_survives_a_restart(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
    async with pair() as paired:
        await paired.listening()
        await paired.push("web")
        await eventually(lambda: paired.rules() == ["web"])


def test_fingerprints_for_people_and_for_the_server_are_the_same() -> None:
    assert plain("3F2A:91C0") == "3f2a91c0"


def test_the_pin_of_a_node_is_the_file_that_the_store_writes(tmp_path: Path) -> None:
    assert pin(tmp_path, "fw2") == tmp_path / "identity" / "peers" / "fw2.pem"
