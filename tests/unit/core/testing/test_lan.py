"""The in-memory broadcast domain behaves like a switch with faults that are asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from appliance.testing.lan import QUEUE_MAX, Lan, Port


def run(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def frames_of(port: Port, within_s: float = 1.0) -> list[bytes]:
    got: list[bytes] = []
    with trio.move_on_after(within_s):
        while True:
            got.append(await port.receive())
    return got


def test_everybody_but_the_sender_receives_a_frame() -> None:
    async def main() -> None:
        lan = Lan()
        a, b, c = (lan.port(name) for name in "abc")
        a.send(b"x")
        assert [await frames_of(port) for port in (a, b, c)] == [[], [b"x"], [b"x"]]

    run(main)


def test_a_frame_arrives_exactly_one_latency_later() -> None:
    async def main() -> None:
        lan = Lan(latency_s=0.25)
        a, b = lan.port("a"), lan.port("b")
        began = trio.current_time()
        a.send(b"x")
        assert await b.receive() == b"x"
        assert trio.current_time() - began == pytest.approx(0.25)

    run(main)


def test_a_receiver_that_already_waits_is_woken_by_an_earlier_frame() -> None:
    async def main() -> None:
        lan = Lan()
        slow, quick, b = lan.port("slow"), lan.port("quick"), lan.port("b")
        lan.disturb(source="slow", delay_s=10)
        slow.send(b"late")
        got: list[bytes] = []

        async def receive() -> None:
            got.extend([await b.receive(), await b.receive()])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await trio.sleep(1)
            quick.send(b"early")
        assert got == [b"early", b"late"]

    run(main)


def test_a_cancelled_receive_loses_nothing() -> None:
    async def main() -> None:
        lan = Lan(latency_s=1)
        a, b = lan.port("a"), lan.port("b")
        a.send(b"x")
        with trio.move_on_after(0.5):
            await b.receive()
        assert await frames_of(b) == [b"x"]

    run(main)


def test_loss_hits_one_direction_and_repeats_with_the_same_seed() -> None:
    async def experiment(seed: int) -> tuple[int, int]:
        lan = Lan(seed=seed)
        a, b = lan.port("a"), lan.port("b")
        lan.disturb(source="a", target="b", loss=0.5)
        for _ in range(200):
            a.send(b"x")
            b.send(b"y")
        return len(await frames_of(b)), len(await frames_of(a))

    async def main() -> None:
        to_b, to_a = await experiment(1)
        assert to_a == 200
        assert 60 < to_b < 140
        assert await experiment(1) == (to_b, to_a)
        assert (await experiment(2))[0] != to_b

    run(main)


def test_jitter_reorders_and_duplicates_arrive_twice() -> None:
    async def main() -> None:
        lan = Lan()
        a, b = lan.port("a"), lan.port("b")
        lan.disturb(jitter_s=0.5, duplicates=1.0)
        sent = [bytes([number]) for number in range(20)]
        for frame in sent:
            a.send(frame)
        got = await frames_of(b)
        assert sorted(got) == sorted(sent * 2)
        assert got != sorted(got)

    run(main)


def test_a_partition_separates_the_sides_and_heals() -> None:
    async def main() -> None:
        lan = Lan()
        a, b, c = (lan.port(name) for name in "abc")
        lan.partition("a", "bc")
        a.send(b"1")
        b.send(b"2")
        assert [await frames_of(port) for port in (a, b, c)] == [[], [], [b"2"]]
        lan.heal()
        a.send(b"3")
        assert await frames_of(c) == [b"3"]

    run(main)


def test_a_pulled_cable_is_seen_as_a_lost_link_and_nothing_passes() -> None:
    async def main() -> None:
        lan = Lan()
        a, b = lan.port("a"), lan.port("b")
        a.send(b"on its way")
        b.pull()
        a.send(b"too late")
        with trio.fail_after(1):
            await b.wait_link(up=False)
        assert await frames_of(b) == []
        b.plug()
        assert b.link_up
        a.send(b"again")
        assert await frames_of(b) == [b"again"]

    run(main)


def test_a_loop_echoes_frames_to_their_sender() -> None:
    async def main() -> None:
        lan = Lan()
        lan.echoes = True
        a = lan.port("a")
        a.send(b"x")
        assert await frames_of(a) == [b"x"]

    run(main)


def test_a_full_queue_drops_and_counts() -> None:
    async def main() -> None:
        lan = Lan()
        a, b = lan.port("a"), lan.port("b")
        for _ in range(QUEUE_MAX + 3):
            a.send(b"x")
        assert b.dropped == 3
        assert len(await frames_of(b)) == QUEUE_MAX

    run(main)


def test_the_capture_says_who_got_a_frame_and_who_lost_it() -> None:
    async def main() -> None:
        lan = Lan()
        a = lan.port("a")
        lan.port("b")
        lan.port("c").pull()
        a.send(b"x")
        (frame,) = lan.capture
        assert (frame.source, frame.data, frame.delivered, frame.lost) == ("a", b"x", ("b",), ("c",))

    run(main)
