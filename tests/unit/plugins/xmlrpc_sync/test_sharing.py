"""The keys that other plugins get of a pairing, and when they are told to ask."""

from __future__ import annotations

import pytest

from appliance.errors import ApplianceError, RefusedError
from appliance.events import DerivedKey, GetKeys, GetPairing, KeysChanged
from appliance.identity.derive import key_for
from appliance.identity.keyring import PairingSecret, keyring_of
from appliance.rpc import client_tls, fingerprint, server_tls
from appliance.testing.node import RunningNode
from appliance_xmlrpc_sync import rotating
from appliance_xmlrpc_sync.sharing import keys_of
from tests.unit.plugins.xmlrpc_sync.nodes import Start

OLD, MIDDLE, NEW = (PairingSecret(created=at, secret=bytes([at]) * 32) for at in (1, 2, 3))


async def keys(node: RunningNode, purpose: str = "pfsync") -> tuple[DerivedKey, ...]:
    return await node.call(GetKeys(purpose=purpose))


def generations(node: RunningNode) -> list[int]:
    return [each.generation for each in node.events(KeysChanged)]


def test_each_secret_gives_one_key_of_its_own() -> None:
    (one,) = keys_of(keyring_of([OLD], sending=OLD.id), "pfsync")
    assert one.id == OLD.id
    assert one.key.value == key_for(OLD.secret, "pfsync", b"")
    assert one.key != keys_of(keyring_of([OLD], sending=OLD.id), "carp-hello")[0].key


def test_the_one_that_sends_comes_first_then_the_newest() -> None:
    for sending, order in (
        (OLD, [OLD, NEW, MIDDLE]),
        (MIDDLE, [MIDDLE, NEW, OLD]),
        (NEW, [NEW, MIDDLE, OLD]),
    ):
        found = keys_of(keyring_of([OLD, MIDDLE, NEW], sending=sending.id), "pfsync")
        assert [each.id for each in found] == [each.id for each in order]


async def test_a_node_alone_has_no_keys_and_says_so_from_the_start(pair: Start) -> None:
    async with pair() as paired:
        assert await keys(paired.one) == ()
        assert generations(paired.one) == [1]


async def test_paired_nodes_have_the_same_keys_for_each_purpose(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        for purpose in ("pfsync", "carp-hello"):
            assert await keys(paired.one, purpose) == await keys(paired.two, purpose) != ()
        assert await keys(paired.one) != await keys(paired.one, "carp-hello")
        assert generations(paired.one) == generations(paired.two) == [1, 2]


async def test_other_plugins_get_what_mutual_tls_between_the_nodes_needs(pair: Start) -> None:
    async with pair() as paired:
        assert (await paired.one.call(GetPairing())).peers == ()
        await paired.introduce()
        one, two = await paired.one.call(GetPairing()), await paired.two.call(GetPairing())
        (seen,) = one.peers
        assert seen.name == paired.two.name
        assert seen.certificate.read_text().endswith(two.certificate.read_text())
        assert seen.fingerprint == fingerprint(two.certificate.read_text())
        pins = server_tls(one.certificate, one.key, [seen.certificate]).pins
        assert pins == client_tls(one.certificate, one.key, [seen.certificate]).pins == {seen.fingerprint}


async def test_there_are_no_keys_for_anything_else(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        for purpose in ("id", "tls", ""):
            with pytest.raises(RefusedError, match=f"no keys for '{purpose}'") as refused:
                await keys(paired.one, purpose)
            assert refused.value.hint == "There are some for pfsync, carp-hello, carp-password."


async def test_each_step_of_a_rotation_is_told_and_the_new_key_sends_after_all_have_it(
    pair: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotating, "SETTLE_S", 0.05)
    async with pair() as paired:
        await paired.introduce()
        (old,) = await keys(paired.one)
        await paired.one.command("pair rotate")
        (new,) = await keys(paired.one)
        assert (new,) == await keys(paired.two)
        assert new != old
        assert generations(paired.one) == generations(paired.two) == [1, 2, 3, 4, 5], "propose, switch, forget"


async def test_a_node_that_trusts_nobody_any_more_has_no_keys(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        await paired.one.command("pair remove fw2")
        assert await keys(paired.one) == ()
        assert generations(paired.one)[-1] == 3
        assert len(await keys(paired.two)) == 1, "which is told nothing"


async def test_a_new_identity_has_no_keys(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        await paired.one.command("pair reset --force")
        assert await keys(paired.one) == ()
        assert generations(paired.one)[-1] == 3


async def test_keys_survive_a_restart(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        before = await keys(paired.one)
    async with pair() as paired:
        assert await keys(paired.one) == before


async def test_a_damaged_identity_is_no_missing_pairing(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
    (paired.folder / "fw2" / "xmlrpc_sync" / "identity" / "own.key").unlink()
    async with pair() as paired:
        with pytest.raises(ApplianceError, match=r"own\.key is missing"):
            await keys(paired.two)


async def test_damaged_secrets_are_told(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        (paired.folder / "fw2" / "xmlrpc_sync" / "identity" / "secrets").write_text("{}")
        with pytest.raises(ApplianceError, match="are damaged"):
            await keys(paired.two)
