"""The commands of pairing: what they refuse, and what they say to people."""

from __future__ import annotations

import pytest

from appliance.errors import ApplianceError, UsageError
from appliance_xmlrpc_sync import pairing
from tests.unit.plugins.xmlrpc_sync.nodes import InterfacesPlugin, Start

FINGERPRINT = ":".join(["3F2A"] * 16)


@pytest.mark.parametrize("line", ["pair", "pair 172.16.1.3", "pair --code ABCD-EFGH"])
async def test_an_address_and_a_code_belong_together(pair: Start, line: str) -> None:
    async with pair() as paired:
        with pytest.raises(UsageError, match="an address and its code are needed") as error:
            await paired.one.command(line)
        assert "pair --listen" in error.value.hint


async def test_who_listens_is_given_nothing(pair: Start) -> None:
    async with pair() as paired:
        with pytest.raises(UsageError, match="--listen takes nothing else"):
            await paired.one.command("pair 172.16.1.3 --listen")


async def test_what_cannot_be_a_code_is_refused_before_anything_is_sent(pair: Start) -> None:
    async with pair() as paired:
        with pytest.raises(UsageError, match="not a code for pairing"):
            await paired.one.command("pair 127.0.0.2 --code hello")


async def test_a_name_is_no_address(pair: Start) -> None:
    async with pair() as paired:
        with pytest.raises(ApplianceError, match="no connection to fw2"):
            await paired.one.command("pair fw2 --code ABCD-EFGH")


async def test_a_reset_has_to_be_meant(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        with pytest.raises(UsageError, match="would lose all its peers") as error:
            await paired.one.command("pair reset")
        assert "--force" in error.value.hint
        assert (await paired.one.command("pair list"))["peers"]
        assert "has a new identity" in (await paired.one.command("pair reset --force"))["result"]
        assert (await paired.one.command("pair list"))["peers"] == []


async def test_the_list_names_both_identities(pair: Start) -> None:
    async with pair() as paired:
        listening, *_ = await paired.introduce()
        data = await paired.one.command("pair list")
        (peer,) = data["peers"]
        assert (data["node"], peer["name"], peer["address"]) == ("fw1", "fw2", "127.0.0.2")
        assert peer["fingerprint"] == listening["fingerprint"]
        text = pairing.render_peers(data)
        assert f"fw1: {data['fingerprint']}" in text
        assert "fw2 at 127.0.0.2, paired 20" in text


async def test_a_node_without_synchronization_says_so(appliance_nodes: list[object]) -> None:
    from appliance.testing import run_appliance

    async with run_appliance('[node]\nname = "fw1"\n', [InterfacesPlugin]) as node:
        with pytest.raises(ApplianceError, match=r"xmlrpc_sync.* is not running") as error:
            await pairing.pair_list(node)
        assert "[xmlrpc_sync]" in error.value.hint


def test_the_listening_operator_reads_what_to_type_on_the_other_node() -> None:
    row = {
        "state": "listening",
        "node": "fw2",
        "fingerprint": FINGERPRINT,
        "code": "ABCD-EFGH",
        "valid_s": 600.0,
        "addresses": ["172.16.1.3"],
        "port": 8444,
    }
    assert pairing.render_pair(row).splitlines() == [
        f"fingerprint of fw2: {FINGERPRINT}",
        "code: ABCD-EFGH (valid for 10 minutes)",
        "now on the other node: appliance pair 172.16.1.3 --code ABCD-EFGH",
    ]


def test_the_other_operator_reads_both_fingerprints() -> None:
    row = {"state": "paired", "peer": "fw2", "address": "172.16.1.3", "fingerprint": "B", "own_fingerprint": "A"}
    assert pairing.render_pair(row).splitlines() == [
        "paired with fw2 at 172.16.1.3",
        "its fingerprint: B",
        "our fingerprint: A",
    ]


def test_the_list_of_a_node_with_a_problem_shows_the_remedy() -> None:
    data = {"node": "fw1", "fingerprint": "", "error": "the key is missing", "remedy": "Restore it.", "peers": []}
    assert pairing.render_peers(data | {"listening": True}).splitlines() == [
        "fw1: no identity",
        "the key is missing",
        "Restore it.",
        "listens for a pairing at the moment",
        "not paired with any node",
    ]


def test_results_are_one_sentence() -> None:
    assert pairing.render_result({"result": "done"}) == "done"
