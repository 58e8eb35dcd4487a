"""The measuring loop, against a far end that behaves as the test says."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable

from appliance.lab.measure import ProbeKind
from appliance.lab.probe import NUMBER, Gaps, Pump

Far = Callable[[socket.socket, int, bytes], None]


class NeverStop:
    asked = False


def measured(far: Far, count: int = 40) -> tuple[object, ...]:
    near_end, far_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    def serve() -> None:
        for _ in range(count):
            data = far_end.recv(100)
            far(far_end, NUMBER.unpack(data)[0], data)

    thread = threading.Thread(target=serve)
    thread.start()
    pump = Pump(near_end, NUMBER.pack, lambda data: int(NUMBER.unpack(data)[0]), count, 2_000_000)
    result = pump.run(ProbeKind.UDP, NeverStop())  # type: ignore[arg-type]
    thread.join()
    near_end.close()
    far_end.close()
    return (
        result.sent,
        result.lost,
        result.duplicates,
        result.reordered,
        round(result.longest_gap_ms / 2),
        result.survived,
    )


def test_an_honest_echo_loses_nothing() -> None:
    assert measured(lambda end, number, data: end.send(data) and None) == (40, 0, 0, 0, 0, True)


def test_a_hole_is_measured_by_its_length() -> None:
    def far(end: socket.socket, number: int, data: bytes) -> None:
        if not 10 <= number < 20:
            end.send(data)

    sent, lost, _, _, gap, survived = measured(far)
    assert (sent, lost, survived) == (40, 10, True)
    assert isinstance(gap, int)
    assert gap >= 9, "ten datagrams, two milliseconds apart; a busy machine may stretch it"


def test_doubled_answers_are_duplicates() -> None:
    def far(end: socket.socket, number: int, data: bytes) -> None:
        end.send(data)
        if number % 10 == 0:
            end.send(data)

    assert measured(far)[:3] == (40, 0, 4)


def test_swapped_answers_are_reordered_and_not_lost() -> None:
    held: list[bytes] = []

    def far(end: socket.socket, number: int, data: bytes) -> None:
        if number == 5:
            held.append(data)
            return
        end.send(data)
        if number == 6:
            end.send(held.pop())

    assert measured(far)[:4] == (40, 0, 0, 1)


def test_numbers_that_were_never_sent_are_ignored() -> None:
    def far(end: socket.socket, number: int, data: bytes) -> None:
        end.send(struct.pack("!Q", 10**9))
        end.send(data)

    assert measured(far)[:3] == (40, 0, 0)


def test_the_longest_wait_is_remembered_with_its_beginning() -> None:
    gaps = Gaps()
    gaps.note(100, 150)
    gaps.note(200, 900)
    gaps.note(1000, 1100)
    assert (gaps.longest_ns, gaps.start_ns) == (700, 200)
