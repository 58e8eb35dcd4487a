"""The messages of a packet log, with the other end of a socket pair as the kernel."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator

import pytest

from appliance.net import nflog
from appliance.net.conntrack import attributes as a
from appliance.net.conntrack import sockets
from appliance.net.fastpath import SystemCallError
from appliance.net.nflog import COPY_BYTES, DATAGRAM_BYTES, Logged, PacketLog

GROUP = 0x0203
PACKET, CONFIG, DONE = 0x400, 0x401, 3
PAYLOAD = b"E" + bytes(19)


def answer(code: int = 0) -> bytes:
    """An acknowledgement, or an error."""
    return a.HEADER.pack(36, a.NLMSG_ERROR, 0, 0, 0) + struct.pack("=i", -code) + bytes(16)


def message(body: bytes, kind: int = PACKET) -> bytes:
    return a.HEADER.pack(a.BODY + len(body), kind, 0, 0, 0) + struct.pack(">BBH", socket.AF_INET, 0, GROUP) + body


def packet(seq: int, *, prefix: bytes = b"fw_a:block \0", hook: int = 1, payload: bytes = PAYLOAD) -> bytes:
    body = a.attribute(1, struct.pack(">HBx", 0x0800, hook)) + a.attribute(10, prefix)
    body += a.be32(4, 7) + a.be32(5, 9) + a.be32(2, 0x102)
    body += a.attribute(3, struct.pack(">QQ", 1_700_000_000, 250_000)) + a.attribute(9, payload) + a.be32(12, seq)
    return message(body)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    monkeypatch.setattr(sockets, "open_socket", lambda _size: near)
    far.setblocking(False)
    with near, far:
        yield far


@pytest.fixture
def log(kernel: socket.socket) -> PacketLog:
    kernel.send(answer())
    made = PacketLog(GROUP)
    kernel.recv(4096)
    return made


def test_it_is_bound_with_one_request(kernel: socket.socket) -> None:
    kernel.send(answer())
    PacketLog(GROUP, flush_s=0.25)
    request = kernel.recv(4096)
    length, kind, flags, _, _ = a.HEADER.unpack_from(request)
    assert (length, kind, flags) == (len(request), CONFIG, a.NLM_F_REQUEST | a.NLM_F_ACK)
    assert request[a.HEADER.size : a.BODY] == struct.pack(">BBH", 0, 0, GROUP)
    assert dict(a.walk(request[a.BODY :])) == {
        1: b"\x01",  # bind
        2: struct.pack(">IBB", COPY_BYTES, 2, 0),  # copy so much of the packet
        3: DATAGRAM_BYTES.to_bytes(4, "big"),
        4: (25).to_bytes(4, "big"),  # flush after so many hundredths of a second
        5: (256).to_bytes(4, "big"),
        6: b"\x00\x01",  # numbered
    }


def test_a_group_that_is_taken_is_told_with_a_hint(kernel: socket.socket) -> None:
    kernel.send(answer(errno.EPERM))
    with pytest.raises(SystemCallError, match="cannot use packet log group 515") as refused:
        PacketLog(GROUP)
    assert refused.value.code == errno.EPERM
    assert "Another program may have the group" in refused.value.hint


def test_a_kernel_without_the_feature_is_told_with_a_hint(kernel: socket.socket) -> None:
    kernel.send(answer(errno.EOPNOTSUPP))
    with pytest.raises(SystemCallError, match="Operation not supported") as refused:
        PacketLog(GROUP)
    assert "lacks the feature" in refused.value.hint


def test_packets_that_come_before_the_answer_are_not_taken_for_lost(kernel: socket.socket) -> None:
    kernel.send(packet(0))
    kernel.send(answer())
    log = PacketLog(GROUP)
    kernel.send(packet(1))
    assert len(log.drain(10)) == 1
    assert log.counters.lost == 0


def test_a_packet_is_told_with_everything_about_it(kernel: socket.socket, log: PacketLog) -> None:
    kernel.send(packet(0, hook=2))
    assert log.drain(10) == [
        Logged(
            prefix="fw_a:block", hook=2, indev=7, outdev=9, mark=0x102, timestamp=1_700_000_000.25, protocol=0x0800,
            payload=PAYLOAD, missed=0,
        )
    ]  # fmt: skip


def test_what_the_kernel_does_not_say_is_zero(kernel: socket.socket, log: PacketLog) -> None:
    kernel.send(message(a.attribute(9, PAYLOAD)))
    assert log.drain(10) == [
        Logged(prefix="", hook=0, indev=0, outdev=0, mark=0, timestamp=0.0, protocol=0, payload=PAYLOAD, missed=0)
    ]


def test_many_packets_of_one_datagram_come_in_their_order(kernel: socket.socket, log: PacketLog) -> None:
    done = a.HEADER.pack(a.BODY, DONE, 0, 0, 0) + bytes(4)
    kernel.send(packet(0, prefix=b"a\0") + packet(1, prefix=b"b\0") + done)
    kernel.send(packet(2, prefix=b"c\0"))
    assert [each.prefix for each in log.drain(10)] == ["a", "b", "c"]
    assert log.counters.malformed == 0


def test_draining_stops_after_the_datagram_that_reaches_the_limit(kernel: socket.socket, log: PacketLog) -> None:
    kernel.send(packet(0) + packet(1))
    kernel.send(packet(2))
    assert len(log.drain(1)) == 2
    assert len(log.drain(1)) == 1
    assert log.drain(1) == []


def test_packets_that_the_kernel_dropped_are_counted_by_their_numbers(kernel: socket.socket, log: PacketLog) -> None:
    for number in (0, 4, 5, 7):
        kernel.send(packet(number))
    assert [each.missed for each in log.drain(10)] == [0, 3, 0, 1]
    assert log.counters.lost == 4


def test_numbers_may_begin_anew_after_the_largest(kernel: socket.socket, log: PacketLog) -> None:
    kernel.send(packet(0xFFFFFFFF))
    log.drain(1)
    log.counters.lost = 0
    kernel.send(packet(1))
    log.drain(1)
    assert log.counters.lost == 1


def test_a_lost_message_is_counted_and_the_next_ones_come(
    kernel: socket.socket, log: PacketLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, failures = log._socket, [OSError(errno.ENOBUFS, "full")]

    class Full:
        def recv_into(self, buffer: bytearray) -> int:
            if failures:
                raise failures.pop()
            return near.recv_into(buffer)

    monkeypatch.setattr(log, "_socket", Full())
    kernel.send(packet(0))
    assert len(log.drain(10)) == 1
    assert log.counters.overruns == 1


def test_a_socket_that_does_not_work_is_told(log: PacketLog) -> None:
    log.close()
    assert log.fileno() == -1
    with pytest.raises(SystemCallError, match="cannot read packet log group 515"):
        log.drain(1)


@pytest.mark.parametrize(
    "body",
    [
        a.attribute(1, b"\x08"),
        a.attribute(3, bytes(9)),
        a.attribute(4, b"\x01"),
        a.attribute(12, b"\x01\x02"),
        struct.pack("=HH", 2, 9),
        struct.pack("=HH", 60, 9) + bytes(4),
    ],
    ids=["header", "time", "device", "number", "attribute too short", "attribute too long"],
)
def test_nonsense_is_counted_and_the_rest_is_read(kernel: socket.socket, log: PacketLog, body: bytes) -> None:
    kernel.send(message(body) + packet(0))
    assert len(log.drain(10)) == 1
    assert log.counters.malformed == 1


@pytest.mark.parametrize("tail", [b"\x01", a.HEADER.pack(8, PACKET, 0, 0, 0), a.HEADER.pack(999, PACKET, 0, 0, 0)])
def test_a_datagram_that_ends_in_nonsense_is_read_up_to_there(
    kernel: socket.socket, log: PacketLog, tail: bytes
) -> None:
    kernel.send(packet(0) + tail)
    kernel.send(packet(1))
    assert len(log.drain(10)) == 2
    assert log.counters.malformed == 1


def test_messages_of_other_kinds_are_passed_over(kernel: socket.socket, log: PacketLog) -> None:
    kernel.send(message(b"", kind=0x999) + packet(0))
    assert len(log.drain(10)) == 1
    assert log.counters.malformed == 0


def test_prefix_and_payload_are_bounded(kernel: socket.socket, log: PacketLog) -> None:
    kernel.send(packet(0, prefix=b"x" * 400 + b"\0", payload=bytes(900)))
    [found] = log.drain(1)
    assert (len(found.prefix), len(found.payload)) == (nflog.TEXT_MAX, COPY_BYTES)


def test_a_prefix_that_is_no_text_is_told_as_well_as_possible(kernel: socket.socket, log: PacketLog) -> None:
    kernel.send(packet(0, prefix=b"\xff:block\0rubbish"))
    assert log.drain(1)[0].prefix == "\N{REPLACEMENT CHARACTER}:block"


def test_it_is_closed_at_the_end_of_its_block(log: PacketLog) -> None:
    with log as opened:
        assert opened.fileno() >= 0
    assert log.fileno() == -1
