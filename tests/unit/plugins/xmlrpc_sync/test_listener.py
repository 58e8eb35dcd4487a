"""The service as the node sees it: when it serves, what it says of itself, and how it ends."""

from __future__ import annotations

import socket
from pathlib import Path

from appliance.events import Health, ServiceStarted, Status
from appliance.identity.certificates import create_identity
from appliance.identity.store import IdentityStore, Peer
from appliance.testing import eventually
from appliance_xmlrpc_sync.events import GetReceived
from tests.unit.plugins.xmlrpc_sync.nodes import FW1, FW2, Pair, Start


def answers(paired: Pair, address: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, paired.port)) == 0


def status(paired: Pair) -> Status:
    """What the listener of fw2 says of itself."""
    found = [
        envelope.event for envelope in paired.two.bus.retained(Status) if envelope.source == "xmlrpc_sync/listener"
    ]
    (one,) = found
    assert isinstance(one, Status)
    return one


async def test_a_node_that_is_paired_with_nobody_does_not_listen(pair: Start) -> None:
    async with pair() as paired:
        assert "xmlrpc_sync/listener" in [each.service for each in paired.two.retained(ServiceStarted)]
        assert not answers(paired, FW2)
        assert status(paired).health is Health.WARN


async def test_a_paired_node_listens_on_its_own_address_and_nowhere_else(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        assert answers(paired, FW2)
        assert not answers(paired, "127.0.0.3")
        assert status(paired) == Status(summary="listens for fw1")
        await eventually(lambda: answers(paired, FW1))


async def test_a_port_that_is_taken_is_told_and_used_when_it_is_free(pair: Start) -> None:
    async with pair() as paired:
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind((FW2, paired.port))
            other.listen()
            async with paired.code() as code:
                await paired.one.command(f"pair {FW2} --code {code}")
            await eventually(lambda: status(paired).summary == "does not listen: Address already in use")
        await eventually(lambda: status(paired).summary == "listens for fw1")
        await paired.push("web")


async def test_the_node_itself_can_ask_what_it_has_received(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        await paired.push("web")
        data = await paired.two.call(GetReceived())
        assert data["sections"]["rules"]["origin"] == "fw1"


async def test_a_change_of_its_settings_starts_it_anew_and_the_pairing_stays(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        await paired.two.reload(paired.two.config.text.replace("[rules]", 'on_drift = "refuse"\n\n[rules]'))
        await paired.push("web")
        assert paired.rules() == ["web"]


async def test_whoever_removes_one_of_several_is_told_to_rotate_what_it_knows(pair: Start, tmp_path: Path) -> None:
    third = Peer(certificate=create_identity("fw3").certificate, address="127.0.0.3", paired_at=0)
    IdentityStore(tmp_path / "fw1" / "xmlrpc_sync").add_peer(third)
    async with pair() as paired:
        await paired.introduce()
        said = (await paired.one.command("pair remove fw3"))["result"]
        assert "fw3 still knows the pairing secret of the others: 'appliance pair rotate' replaces it" in said
        said = (await paired.one.command("pair remove fw2"))["result"]
        assert said == "fw2 is not trusted any more; remove this node there, too"
