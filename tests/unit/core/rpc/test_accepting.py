"""Listening on what comes and goes. With a real device: `tests/netns/rpc/test_server.py`."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from appliance.errors import ApplianceError
from appliance.rpc import Listen
from appliance.rpc.accepting import Acceptor
from appliance.testing.waiting import eventually
from tests.unit.core.rpc.peers import Notes


def test_an_address_that_can_never_be_is_refused_at_once() -> None:
    with pytest.raises(ApplianceError, match="it is not an address"):
        Acceptor(Listen(address="example.net", port=0), log=Notes()).open()


def test_a_port_that_is_taken_is_waited_for_and_that_is_said_once() -> None:
    async def main() -> None:
        notes, taken = Notes(), []
        holder = Acceptor(Listen(address="127.0.0.1", port=0), log=notes)
        holder.open()
        waiting = Acceptor(Listen(address="127.0.0.1", port=holder.port), log=notes, rebind_s=0.02)
        waiting.open()
        assert (waiting.port, waiting.waiting_for) == (0, "Address already in use")
        async with trio.open_nursery() as nursery:
            with trio.fail_after(10):
                scope = trio.CancelScope()
                nursery.start_soon(partial(_run, holder, scope))
                nursery.start_soon(waiting.run, lambda transport, source: taken.append((transport, source)))
                await trio.sleep(0.1)
                scope.cancel()
                await eventually(lambda: waiting.port != 0)
                async with await trio.open_tcp_stream("127.0.0.1", waiting.port):
                    await eventually(lambda: [source for _, source in taken] == ["127.0.0.1"])
                taken[0][0].socket.close()
            nursery.cancel_scope.cancel()
        assert waiting.port == 0
        assert len(notes.named("rpc_not_listening")) == 1

    async def _run(acceptor: Acceptor, scope: trio.CancelScope) -> None:
        with scope:
            await acceptor.run(lambda *_: None)

    trio.run(main)
