"""The side of a pairing that shows the code: how long it is open, and what closes it."""

from __future__ import annotations

import socket

import pytest
import trio

from appliance.errors import ApplianceError, RefusedError
from appliance.identity import pairing
from appliance.rpc import Client, Fault, FaultCode, Target, TooLargeError, client_tls
from appliance.testing import eventually
from appliance_xmlrpc_sync import window
from appliance_xmlrpc_sync.events import AwaitPairing, OpenPairing
from appliance_xmlrpc_sync.introductions import METHOD
from tests.unit.plugins.xmlrpc_sync.nodes import FW1, FW2, Pair, Start


def is_listening(paired: Pair) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((FW2, paired.port + 1)) == 0


async def guess(paired: Pair, code: str = "0000-0000") -> str:
    with pytest.raises(ApplianceError) as error:
        await paired.one.command(f"pair {FW2} --code {code}")
    return error.value.message


async def test_nobody_listens_unless_an_operator_does(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        await eventually(lambda: not is_listening(paired))


async def test_both_operators_see_both_fingerprints(pair: Start) -> None:
    async with pair() as paired:
        listening, given, shown = await paired.introduce()
        assert (listening["state"], given["state"], shown["state"]) == ("listening", "paired", "paired")
        assert (given["peer"], given["fingerprint"]) == ("fw2", listening["fingerprint"])
        assert (shown["peer"], shown["fingerprint"]) == ("fw1", given["own_fingerprint"])


async def test_three_wrong_codes_from_one_address_are_enough_and_do_not_close_it_for_others(pair: Start) -> None:
    async with pair() as paired:
        opened = await paired.two.call(OpenPairing())
        wrong = "0000-0001" if opened.code == "0000-0000" else "0000-0000"
        said = [await guess(paired, wrong) for _ in range(4)]
        assert "tries left: 2" in said[2]
        assert "takes no more codes from this address" in said[3]
        assert "takes no more codes from this address" in await guess(paired, opened.code)
        assert is_listening(paired)


async def test_five_wrong_codes_close_it(pair: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairing, "SOURCE_TRIES_MAX", 5)
    async with pair() as paired:
        opened = await paired.two.call(OpenPairing())
        wrong = "0000-0001" if opened.code == "0000-0000" else "0000-0000"
        said = [await guess(paired, wrong) for _ in range(5)]
        assert ["tries left: 4" in said[0], "tries left: 0" in said[4]] == [True, True]
        await eventually(lambda: not is_listening(paired))


async def test_a_stranger_cannot_send_more_than_a_pairing_needs(pair: Start) -> None:
    async with pair() as paired:
        await paired.two.call(OpenPairing())
        target = Target(address=FW2, port=paired.port + 1)
        async with Client(target, tls=client_tls(None, None, [])) as client:
            with pytest.raises(TooLargeError):
                await client.call(METHOD, {"step": "hello", "name": "x" * window.MESSAGE_MAX})


async def test_the_operator_is_told_why_it_closed(pair: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairing, "SOURCE_TRIES_MAX", 5)
    said: list[str] = []
    async with pair() as paired:

        async def listen() -> None:
            with pytest.raises(ApplianceError) as error:
                await paired.two.command("pair --listen")
            said.append(error.value.message)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await eventually(lambda: is_listening(paired))
            for _ in range(5):
                await guess(paired)
    assert said == [f"no node was paired: 5 wrong codes were tried, from {FW1} (5)"]


async def test_a_new_code_makes_the_old_one_invalid(pair: Start) -> None:
    async with pair() as paired:
        first = await paired.two.call(OpenPairing())
        second = await paired.two.call(OpenPairing())
        assert first.code != second.code
        with pytest.raises(RefusedError, match="not valid any more"):
            await paired.two.call(AwaitPairing(window=first.window))
        assert "the code is wrong" in await guess(paired, first.code)


async def test_whoever_stops_waiting_closes_it(pair: Start) -> None:
    async with pair() as paired:
        opened = await paired.two.call(OpenPairing())
        assert is_listening(paired)
        with trio.move_on_after(0.05):
            await paired.two.call(AwaitPairing(window=opened.window))
        await eventually(lambda: not is_listening(paired))


async def test_a_code_that_nobody_has_seen_is_closed_soon(pair: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "UNWATCHED_S", 0.05)
    async with pair() as paired:
        await paired.two.call(OpenPairing())
        await eventually(lambda: not is_listening(paired))


async def test_a_code_is_valid_for_ten_minutes_and_no_longer(pair: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.identity.pairing.CODE_VALID_S", 0.2)
    async with pair() as paired:
        opened = await paired.two.call(OpenPairing())
        assert opened.valid_s == pytest.approx(0.2)
        result = await paired.two.call(AwaitPairing(window=opened.window))
        assert (result["state"], "the code was valid for" in result["reason"]) == ("closed", True)
        await eventually(lambda: not is_listening(paired))


async def test_the_listener_has_one_method_and_refuses_nonsense(pair: Start) -> None:
    async with pair() as paired:
        await paired.two.call(OpenPairing())
        target = Target(address=FW2, port=paired.port + 1)
        async with Client(target, tls=client_tls(None, None, [])) as client:
            for method, params, code in (
                ("config_digest", (), FaultCode.NO_METHOD),
                ("restore_config_section", ({}, {}), FaultCode.NO_METHOD),
                ("pair", ("hello",), FaultCode.PARAMETERS),
                ("pair", ({"step": "hello"},), FaultCode.PARAMETERS),
                ("pair", ({"step": "confirm", "session": bytes(16)},), FaultCode.NO_TRANSACTION),
            ):
                with pytest.raises(Fault) as error:
                    await client.call(f"appliance.{method}", *params)
                assert error.value.code == code


async def test_a_port_that_is_taken_is_named_before_a_code_is_shown(pair: Start) -> None:
    async with pair() as paired:
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind((FW2, paired.port + 1))
            other.listen()
            with pytest.raises(ApplianceError, match="cannot listen for a pairing: Address already in use"):
                await paired.two.command("pair --listen")
        await paired.introduce()


async def test_a_pairing_that_cannot_be_written_is_told_to_both(pair: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    async with pair() as paired:
        message = "no room"

        def full(*_: object) -> None:
            raise ApplianceError(message, hint="Make room.")

        opened = await paired.two.call(OpenPairing())
        monkeypatch.setattr("appliance.identity.store.IdentityStore.record_pairing", full)
        assert await guess(paired, opened.code) == message
        result = await paired.two.call(AwaitPairing(window=opened.window))
        assert (result["state"], result["reason"]) == ("closed", message)
