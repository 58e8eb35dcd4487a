"""Listening on what comes and goes. With a real device: `tests/netns/rpc/test_server.py`."""

from __future__ import annotations

import pytest
import trio

from appliance.errors import ApplianceError
from appliance.rpc import Limits, Listen
from appliance.rpc.accepting import Acceptor
from appliance.rpc.slots import Slot
from appliance.testing.waiting import eventually
from tests.unit.core.rpc.peers import Notes


class Door(Acceptor):
    """Lets everybody in and says good-bye."""

    def __init__(self, port: int, notes: Notes) -> None:
        where = Listen(address="127.0.0.1", port=port)
        super().__init__(where, limits=Limits(), log=notes, rebind_s=0.02)
        self.came: list[str] = []

    async def _connection(self, transport: trio.SocketStream, slot: Slot, scope: trio.CancelScope) -> None:
        self.came.append(slot.source)
        self._slots.release(slot)
        await transport.aclose()


def test_an_address_that_can_never_be_is_refused_at_once() -> None:
    class Nowhere(Door):
        def __init__(self) -> None:
            super().__init__(0, Notes())
            self._where = Listen(address="example.net", port=0)

    with pytest.raises(ApplianceError, match="it is not an address"):
        trio.run(Nowhere().run)


def test_a_port_that_is_taken_is_waited_for_and_that_is_said_once() -> None:
    async def main() -> None:
        notes = Notes()
        async with trio.open_nursery() as nursery:
            with trio.fail_after(10):
                holding = await nursery.start(_hold)
                door = Door(holding.getsockname()[1], notes)
                await nursery.start(door.run)
                assert (door.port, door.waiting_for) == (0, "Address already in use")
                await trio.sleep(0.1)
                holding.close()
                await eventually(lambda: door.port != 0)
                async with await trio.open_tcp_stream("127.0.0.1", door.port) as stream:
                    assert await stream.receive_some() == b""
                assert (door.came, door.connections, door.counters["accepted"]) == (["127.0.0.1"], 0, 1)
            nursery.cancel_scope.cancel()
        assert door.port == 0
        assert len(notes.named("rpc_not_listening")) == 1

    trio.run(main)


async def _hold(task_status: trio.TaskStatus[trio.socket.SocketType]) -> None:
    """A port, until somebody closes the socket."""
    with trio.socket.socket() as made:
        await made.bind(("127.0.0.1", 0))
        made.listen()
        task_status.started(made)
        await trio.sleep_forever()
