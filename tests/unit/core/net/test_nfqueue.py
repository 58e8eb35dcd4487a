"""The messages of a packet queue, with the other end of a socket pair as the kernel."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator

import pytest

from appliance.net.conntrack import attributes as a
from appliance.net.conntrack import sockets
from appliance.net.fastpath import SystemCallError
from appliance.net.nfqueue import VERDICTS_MAX, PacketQueue

NUMBER = 0x0203
PACKET, VERDICT, CONFIG = 0x300, 0x301, 0x302
ENTRY = a.be32(a.TIMEOUT, 30)


def answer(code: int = 0) -> bytes:
    """An acknowledgement, or an error."""
    return a.HEADER.pack(36, a.NLMSG_ERROR, 0, 0, 0) + struct.pack("=i", -code) + bytes(16)


def packet(number: int, entry: bytes = ENTRY) -> bytes:
    body = a.attribute(1, struct.pack(">IHB", number, 0x0800, 4)) + a.be32(5, 2)
    body += a.nested(11, entry) if entry else b""
    return a.HEADER.pack(a.BODY + len(body), PACKET, 0, 0, 0) + struct.pack(">BBH", socket.AF_INET, 0, NUMBER) + body


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    monkeypatch.setattr(sockets, "open_socket", lambda _size: near)
    far.setblocking(False)
    with near, far:
        yield far


@pytest.fixture
def queue(kernel: socket.socket) -> PacketQueue:
    kernel.send(answer())
    made = PacketQueue(NUMBER, maxlen=5000)
    kernel.recv(4096)
    return made


def test_it_is_bound_with_one_request(kernel: socket.socket) -> None:
    kernel.send(answer())
    PacketQueue(NUMBER, maxlen=5000)
    request = kernel.recv(4096)
    length, kind, flags, _, _ = a.HEADER.unpack_from(request)
    assert (length, kind, flags) == (len(request), CONFIG, a.NLM_F_REQUEST | a.NLM_F_ACK)
    assert request[a.HEADER.size : a.BODY] == struct.pack(">BBH", 0, 0, NUMBER)
    assert dict(a.walk(request[a.BODY :])) == {
        1: bytes((1, 0, 0, 0)),  # bind
        2: bytes((0, 0, 0, 0, 1)),  # copy nothing of the packet
        3: (5000).to_bytes(4, "big"),
        4: (7).to_bytes(4, "big"),  # fail open, with the entry, without segmentation
        5: (7).to_bytes(4, "big"),
    }


def test_it_asks_again_when_the_kernel_has_loaded_a_module(kernel: socket.socket) -> None:
    kernel.send(answer(errno.EAGAIN))
    kernel.send(answer())
    PacketQueue(NUMBER)
    assert kernel.recv(4096) == kernel.recv(4096)


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EPERM, errno.EBUSY])
def test_a_refusal_is_told_with_a_hint(kernel: socket.socket, code: int) -> None:
    kernel.send(answer(code))
    with pytest.raises(SystemCallError, match="cannot use packet queue 515") as refused:
        PacketQueue(NUMBER)
    assert refused.value.code == code
    assert refused.value.hint


def test_packets_that_come_before_the_answer_pass(kernel: socket.socket) -> None:
    kernel.send(packet(1))
    kernel.send(answer())
    PacketQueue(NUMBER)
    kernel.recv(4096)
    assert kernel.recv(4096)[-4:] == (1).to_bytes(4, "big")


def test_packets_are_drained_in_order_with_their_entries(kernel: socket.socket, queue: PacketQueue) -> None:
    for message in (packet(7), packet(8, b""), packet(9)):
        kernel.send(message)
    assert queue.drain(2) == [(7, ENTRY), (8, b"")]
    assert queue.drain(2) == [(9, ENTRY)]
    assert queue.drain(2) == []


def test_errors_and_nonsense_are_counted_and_do_not_look_like_the_end(
    kernel: socket.socket, queue: PacketQueue
) -> None:
    kernel.send(answer(errno.ENOENT))
    kernel.send(packet(1)[:-2])
    kernel.send(a.HEADER.pack(a.BODY, PACKET, 0, 0, 0) + bytes(4))
    kernel.send(packet(2))
    assert queue.drain(1) == [(2, ENTRY)]
    assert (queue.counters.refused, queue.counters.malformed) == (1, 2)


def test_verdicts_are_sent_together_in_order(kernel: socket.socket, queue: PacketQueue) -> None:
    queue.accept([5, 3])
    sent = kernel.recv(4096)
    head = a.HEADER.pack(32, VERDICT, a.NLM_F_REQUEST, 0, 0) + struct.pack(">BBH", 0, 0, NUMBER)
    assert sent == b"".join(head + a.attribute(2, struct.pack(">II", 1, number)) for number in (5, 3))
    queue.accept([])
    with pytest.raises(BlockingIOError):
        kernel.recv(4096)


def test_very_many_verdicts_are_sent_in_parts(kernel: socket.socket, queue: PacketQueue) -> None:
    queue.accept(range(VERDICTS_MAX + 1))
    assert [len(kernel.recv(1 << 17)) for _ in range(2)] == [32 * VERDICTS_MAX, 32]


def test_a_lost_message_is_counted_and_the_next_ones_come(
    kernel: socket.socket, queue: PacketQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive, failures = queue._slots.receive, [OSError(errno.ENOBUFS, "full")]

    def overrun(fd: int, count: int) -> list[memoryview]:
        if failures:
            raise failures.pop()
        return receive(fd, count)

    monkeypatch.setattr(queue._slots, "receive", overrun)
    kernel.send(packet(1))
    assert queue.drain(10) == [(1, ENTRY)]
    assert queue.counters.overruns == 1
