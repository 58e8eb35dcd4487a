"""Many datagrams with one call, over any kind of datagram socket."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator

import pytest

from appliance.net.conntrack.sockets import Slots


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with near, far:
        yield near, far


def test_datagrams_come_in_their_order_and_length(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    sent = [b"a", b"", b"ccc", bytes(64)]
    for datagram in sent:
        near.send(datagram)
    assert [bytes(part) for part in Slots(8, 64).receive(far.fileno(), 8)] == sent


def test_nothing_is_there_when_nothing_came(pair: tuple[socket.socket, socket.socket]) -> None:
    assert Slots(4, 64).receive(pair[1].fileno(), 4) == []


@pytest.mark.parametrize(("wanted", "got"), [(2, 2), (9, 3)])
def test_no_more_are_taken_than_wanted_or_than_there_are_slots(
    pair: tuple[socket.socket, socket.socket], wanted: int, got: int
) -> None:
    near, far = pair
    for number in range(5):
        near.send(bytes((number,)))
    slots = Slots(3, 8)
    assert [part[0] for part in slots.receive(far.fileno(), wanted)] == list(range(got))
    assert [part[0] for part in slots.drain(far.fileno())] == list(range(got, 5))


def test_a_datagram_that_does_not_fit_is_counted_and_left_out(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    for datagram in (b"fits", b"does not fit", b"too"):
        near.send(datagram)
    slots = Slots(4, 4)
    assert [bytes(part) for part in slots.receive(far.fileno(), 4)] == [b"fits", b"too"]
    assert slots.truncated == 1
    near.send(b"next")
    assert [bytes(part) for part in slots.receive(far.fileno(), 4)] == [b"next"]
    assert slots.truncated == 1


def test_what_the_kernel_says_is_told() -> None:
    reading, writing = os.pipe()
    try:
        with pytest.raises(OSError) as refused:  # noqa: PT011 - its errno is what counts
            Slots(1, 8).receive(reading, 1)
    finally:
        os.close(reading)
        os.close(writing)
    assert refused.value.errno == errno.ENOTSOCK
