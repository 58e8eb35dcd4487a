"""The channel between processes, here between two tasks."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from appliance.errors import ConfigError, KernelError
from appliance.host.bridge import BACKLOG_MAX, CALLS_MAX, Answering, Asking, Channel
from appliance.host.failures import RemoteError, one_line, portable
from appliance.host.frames import FRAME_MAX, HEADER, BridgeError, CancelCall, Reload, Reply, Stop
from appliance.plugin.context import NoProvider


def run_pair(main: Callable[[Channel, Channel, socket.socket], Awaitable[None]]) -> None:
    """Run with two connected channels whose pumps run, and the socket of the first."""

    async def body() -> None:
        a, b = socket.socketpair()
        with a, b:
            left, right = Channel(a), Channel(b)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(left.pump)
                nursery.start_soon(right.pump)
                with trio.fail_after(10):
                    await main(left, right, a)
                nursery.cancel_scope.cancel()

    trio.run(body)


def test_frames_larger_than_the_socket_arrive_whole_and_in_order() -> None:
    async def main(left: Channel, right: Channel, _: socket.socket) -> None:
        sizes = [3_000_000, 10, 0, 1_000_000, 5]
        for number, size in enumerate(sizes):
            left.send(Reload(number, b"x" * size))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(left.flush)
            got = [await right.receive() for _ in sizes]
        assert got == [Reload(number, b"x" * size) for number, size in enumerate(sizes)]

    run_pair(main)


def test_what_waits_for_a_process_that_does_not_read_is_bounded() -> None:
    async def main(left: Channel, right: Channel, _: socket.socket) -> None:
        sent = 0

        def send_for_ever() -> None:
            nonlocal sent
            while True:
                left.send(Reload(0, b"x" * 1_000_000))
                sent += 1

        with pytest.raises(BridgeError, match="does not read"):
            send_for_ever()
        assert 7 <= sent <= BACKLOG_MAX // 1_000_000 + 1
        for _number in range(sent):
            await right.receive()
        left.send(Stop())  # there is room again
        assert await right.receive() == Stop()

    run_pair(main)


def test_what_cannot_be_sent_is_refused_and_disturbs_nothing() -> None:
    async def main(left: Channel, right: Channel, _: socket.socket) -> None:
        with pytest.raises(BridgeError, match="function cannot cross"):
            left.send(Reload(0, lambda: None))
        with pytest.raises(BridgeError, match="bytes is too large"):
            left.send(Reload(0, b"x" * FRAME_MAX))
        left.send(Stop())
        assert await right.receive() == Stop()

    run_pair(main)


def test_an_announced_frame_beyond_the_limit_is_not_waited_for() -> None:
    async def main(left: Channel, right: Channel, raw: socket.socket) -> None:
        raw.send(HEADER.pack(FRAME_MAX + 1))
        with pytest.raises(BridgeError, match="at most"):
            await right.receive()

    run_pair(main)


def test_the_end_comes_after_everything_that_was_sent_before_it() -> None:
    async def main(left: Channel, right: Channel, raw: socket.socket) -> None:
        left.send(Stop())
        raw.send(HEADER.pack(100) + b"half a frame")
        left.hang_up()
        assert await right.receive() == Stop()
        assert await right.receive() is None
        right.send(Stop())  # to nobody, and that is no error
        await right.flush()

    run_pair(main)


def test_calls_are_answered_in_any_order() -> None:
    async def main(left: Channel, right: Channel, _: socket.socket) -> None:
        asking = Asking(left)
        answers: dict[int, object] = {}

        async def ask(value: int) -> None:
            answers[value] = await asking.ask(lambda number: Reload(number, value))

        async with trio.open_nursery() as nursery:
            for value in range(3):
                nursery.start_soon(ask, value)
            asked = [await right.receive() for _ in range(3)]
            for frame in reversed(asked):
                assert isinstance(frame, Reload)
                asking.answered(Reply(frame.number, frame.config, None))
            asking.answered(Reply(99, "late", None))
        assert answers == {0: 0, 1: 1, 2: 2}

    run_pair(main)


def test_a_caller_that_gives_up_says_so_and_one_whose_provider_is_gone_learns_it() -> None:
    async def main(left: Channel, right: Channel, _: socket.socket) -> None:
        asking = Asking(left)
        with trio.move_on_after(0.05):
            await asking.ask(lambda number: Reload(number, None))
        assert [await right.receive(), await right.receive()] == [Reload(1, None), CancelCall(1)]

        async def close_soon() -> None:
            await trio.sleep(0.05)
            asking.close("it has ended")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(close_soon)
            with pytest.raises(NoProvider, match="it has ended"):
                await asking.ask(lambda number: Reload(number, None))
        with pytest.raises(NoProvider, match="it has ended"):
            await asking.ask(lambda number: Reload(number, None))

    run_pair(main)


def test_too_many_calls_at_once_are_refused_on_both_sides() -> None:
    async def main(left: Channel, right: Channel, _: socket.socket) -> None:
        async with trio.open_nursery() as nursery:
            answering = Answering(left, nursery)
            for number in range(CALLS_MAX + 1):
                answering.begin(number, trio.sleep_forever)
            refused = await right.receive()
            assert isinstance(refused, Reply)
            assert refused.number == CALLS_MAX
            assert "too many" in str(refused.error)

            asking = Asking(left)
            for _ in range(CALLS_MAX):
                nursery.start_soon(asking.ask, lambda number: Reload(number, None))
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(BridgeError, match="wait for an answer"):
                await asking.ask(lambda number: Reload(number, None))
            nursery.cancel_scope.cancel()

    run_pair(main)


class OddError(KernelError):
    """Cannot be made from a message and a hint."""

    def __init__(self, device: str) -> None:
        super().__init__(f"no {device}", hint="plug it in")


def test_errors_travel_as_themselves_where_callers_tell_them_apart() -> None:
    refused = portable(ConfigError("wrong", hint="right"))
    assert (type(refused), str(refused)) == (ConfigError, "wrong\nright")
    inside = portable(ExceptionGroup("group", [KernelError("no device", hint="plug it in")]))
    assert type(inside) is KernelError
    odd = portable(OddError("eth0"))
    assert (odd.message, odd.hint) == ("no eth0", "plug it in")  # type: ignore[attr-defined]
    bug = portable(ExceptionGroup("group", [ValueError("boom\n twice"), OSError("other")]))
    assert isinstance(bug, RemoteError)
    assert one_line(bug) == "ValueError: boom twice"
    assert "other" in bug.detail
