"""The filter of an event socket; the socket itself is tested on a real kernel."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.net.conntrack.events import port_filter

PORTS = st.integers(0, 0xFFFFFFFF)


def accepts(program: bytes, message: bytes) -> bool:
    """Classic BPF, as far as this program uses it (Documentation/networking/filter.rst)."""
    code: list[tuple[int, int, int, int]] = list(struct.iter_unpack("=HBBI", program))
    accumulator = at = 0
    while True:
        operation, if_true, if_false, value = code[at]
        at += 1
        if operation == 0x20:
            accumulator = int.from_bytes(message[value : value + 4], "big")
        elif operation == 0x15:
            at += if_true if accumulator == value else if_false
        else:
            assert operation == 0x06
            return value != 0


def message_of(port: int) -> bytes:
    return struct.pack("=IHHII", 20, 0x100, 0, 0, port) + bytes(4)


def test_the_bytes_for_one_port_are_known() -> None:
    instructions = [program.hex() for program in map(bytes, zip(*[iter(port_filter({0x01020304}))] * 8, strict=True))]
    assert instructions == [
        "200000000c000000",  # load the word at 12
        "1500010001020304",  # is it the port? then one further
        "06000000ffffffff",  # keep all of it
        "0600000000000000",  # keep nothing of it
    ]


@given(st.sets(PORTS, max_size=20), PORTS)
def test_messages_of_other_ports_pass(ignored: set[int], port: int) -> None:
    assert accepts(port_filter(ignored), message_of(port)) == (port not in ignored)


@given(st.sets(PORTS, min_size=1, max_size=200))
def test_messages_of_ignored_ports_do_not(ignored: set[int]) -> None:
    program = port_filter(ignored)
    assert [port for port in ignored if accepts(program, message_of(port))] == []


def test_more_ports_than_a_jump_can_pass_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 200"):
        port_filter(range(201))
