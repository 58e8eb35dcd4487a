"""A new pairing secret on both nodes, over real calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from appliance.errors import RefusedError
from appliance.identity.keyring import Keyring, PairingSecret
from appliance.identity.rotation import Request
from appliance.identity.store import IdentityStore
from appliance.rpc import Fault, FaultCode
from appliance_xmlrpc_sync import rotating
from tests.unit.plugins.xmlrpc_sync.nodes import Pair, Start, user_table


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """No datagram is under way here."""
    monkeypatch.setattr(rotating, "SETTLE_S", 0.05)


def keyring(paired: Pair, name: str) -> Keyring:
    found = IdentityStore(paired.folder / name / "xmlrpc_sync").keyring()
    assert found is not None
    return found


async def test_both_nodes_send_with_a_new_secret_and_have_forgotten_the_old_one(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        old = keyring(paired, "fw1")
        said = await paired.one.command("pair rotate")
        assert said == {"result": "fw1, fw2 use a new pairing secret"}
        new = keyring(paired, "fw1")
        assert new == keyring(paired, "fw2")
        assert new.find(old.sending) is None
        assert len(new.secrets) == 1


async def test_any_node_may_lead(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        old = keyring(paired, "fw2")
        await paired.two.command("pair rotate")
        assert keyring(paired, "fw1") == keyring(paired, "fw2") != old


async def test_a_node_alone_has_nothing_to_rotate(pair: Start) -> None:
    async with pair() as paired:
        with pytest.raises(RefusedError, match="not paired with any other"):
            await paired.one.command("pair rotate")


async def test_a_peer_that_is_away_is_named_and_the_old_secret_stays(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        old = keyring(paired, "fw1")
        await paired.two.command("pair remove fw1")
        with pytest.raises(RefusedError, match="the pairing secret is not rotated: fw2 does not answer"):
            await paired.one.command("pair rotate")
        assert keyring(paired, "fw1").sending == old.sending


async def test_the_second_factor_counts_for_a_rotation_too(pair: Start, tmp_path: Path) -> None:
    async with pair(sync=user_table(admin="sync")) as paired:
        await paired.introduce()
        with pytest.raises(RefusedError, match="unknown user or wrong password"):
            await paired.one.command("pair rotate")
        file = tmp_path / "sync.password"
        file.touch(mode=0o600)
        file.write_text("right\n")
        text = paired.one.config.text.replace("[rules]", f'password_file = "{file}"\n\n[rules]')
        await paired.one.reload(text)
        await paired.one.command("pair rotate")


async def test_nonsense_is_refused(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        async with paired.client() as client:
            with pytest.raises(Fault, match="has no step that this node knows") as error:
                await client.call("appliance.rotate", {"step": "burn"})
        assert error.value.code == FaultCode.PARAMETERS


async def test_a_peer_cannot_fill_the_keyring_with_proposals(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        before = keyring(paired, "fw2")

        def proposal(number: int) -> dict[str, object]:
            made = PairingSecret(created=before.newest.created + number, secret=bytes([number]) * 32)
            return Request(step="propose", members=("fw1", "fw2"), secret=made).wire()

        async with paired.client() as client:
            answers: list[Any] = [await client.call("appliance.rotate", proposal(number)) for number in (1, 2, 1, 3)]
        assert [bool(each["refused"]) for each in answers] == [False, True, False, True]
        assert len(keyring(paired, "fw2").secrets) == len(before.secrets) + 1
        await paired.two.command("pair rotate")  # an honest rotation finishes what was left over
        assert len(keyring(paired, "fw2").secrets) == 1
