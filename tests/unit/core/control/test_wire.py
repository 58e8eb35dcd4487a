import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.control import wire

REPLIES = (
    wire.Greeting(node="fw1"),
    wire.Data(data={"vips": [{"vhid": 1, "state": "MASTER"}], "empty": None}),
    wire.Data(data=None),
    wire.Text(text="two\nlines ✓ \udce9"),
    wire.Exit(status=2),
    wire.Failure(message="it failed", hint="do this", exit=3),
    wire.RunLocally(),
)


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: type(reply).__name__)
def test_a_reply_survives_the_wire_as_one_line(reply: wire.Reply) -> None:
    line = wire.encode_reply(reply)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert wire.decode_reply(line) == reply


@given(st.lists(st.text(max_size=20), max_size=8), st.booleans(), st.integers(0, 500))
def test_any_words_survive_the_wire(argv: list[str], as_json: bool, width: int) -> None:
    request = wire.Request(argv=tuple(argv), json=as_json, width=width)
    assert wire.decode_request(wire.encode_request(request)) == request


def test_unknown_fields_and_unknown_replies_are_ignored() -> None:
    request = wire.decode_request(b'{"argv": ["show", "ha"], "colour": "red"}')
    assert request == wire.Request(argv=("show", "ha"))
    assert wire.decode_reply(b'{"progress": 50}') is None
    assert wire.decode_reply(b'{"exit": 0, "took_ms": 3}') == wire.Exit(status=0)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"hello",
        b"[]",
        b"{}",
        b'{"argv": "show ha"}',
        b'{"argv": ["show", 1]}',
        b'{"argv": [], "width": "wide"}',
        b'{"argv": [], "width": -1}',
        b'{"argv": [], "width": true}',
        b"\xff\xfe",
        json.dumps({"argv": ["x"] * 300}).encode(),
    ],
)
def test_a_malformed_request_is_refused_with_a_reason(line: bytes) -> None:
    with pytest.raises(wire.WireError) as refused:
        wire.decode_request(line)
    assert refused.value.hint


@given(st.binary(max_size=64))
def test_garbage_raises_nothing_but_the_protocols_own_error(line: bytes) -> None:
    for decode in (wire.decode_request, wire.decode_reply):
        with suppress(wire.WireError):
            decode(line)


def test_deeply_nested_json_is_refused_and_not_a_crash() -> None:
    with pytest.raises(wire.WireError):
        wire.decode_request(b'{"argv":' * 30000)


@given(st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line), max_size=10), st.integers(1, 7))
def test_lines_are_the_same_however_the_stream_is_cut(lines: list[bytes], size: int) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    splitter = wire.LineSplitter(1000)
    found = [line for at in range(0, len(stream), size) for line in splitter.feed(stream[at : at + size])]
    assert found == lines


def test_an_endless_line_is_refused_at_the_limit_and_not_buffered() -> None:
    splitter = wire.LineSplitter(10)
    assert splitter.feed(b"0123456789") == []
    with pytest.raises(wire.WireError):
        splitter.feed(b"0")


def test_a_line_of_exactly_the_limit_passes() -> None:
    assert wire.LineSplitter(4).feed(b"1234\n5678\n") == [b"1234", b"5678"]


@pytest.mark.parametrize("data", [{1, 2}, object(), float("nan"), {"deep": b"bytes"}])
def test_an_answer_that_is_not_plain_data_is_an_error_of_its_command(data: object) -> None:
    with pytest.raises(wire.WireError, match="not plain data"):
        wire.encode_reply(wire.Data(data=data))


def test_an_answer_that_is_too_long_is_an_error_and_not_sent() -> None:
    with pytest.raises(wire.WireError, match="at most"):
        wire.encode_reply(wire.Text(text="x" * (wire.REPLY_LINE_MAX + 1)))
