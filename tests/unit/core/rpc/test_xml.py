"""What is sent, and that it arrives as it was: here and at the standard library's codec."""

from __future__ import annotations

import enum
import os
import time
import xmlrpc.client
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.rpc import values, xml
from appliance.rpc.errors import CodecError
from appliance.rpc.faults import Fault

TEXT = st.text(st.characters(codec="utf-8")).filter(lambda text: values.unsendable(text) is None)
SCALARS = (
    st.booleans()
    | st.integers(values.INT_MIN, values.INT_MAX)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
    | st.binary()
    | st.datetimes().map(lambda moment: moment.replace(microsecond=0))
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5), max_leaves=20
)


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same types: 1, 1.0 and True are equal to Python."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


def refusal(value: object) -> CodecError:
    with pytest.raises(CodecError) as caught:
        xml.dumps_call("m", [value])
    return caught.value


@given(st.lists(VALUES, max_size=4))
def test_a_call_arrives_as_it_was_sent(params: list[Any]) -> None:
    method, received = xml.loads_call(xml.dumps_call("appliance.method", params))
    assert method == "appliance.method"
    assert same(received, params)


@given(VALUES)
def test_an_answer_arrives_as_it_was_sent(value: Any) -> None:
    assert same(xml.loads_response(xml.dumps_response(value)), value)


@given(st.integers(values.INT_MIN, values.INT_MAX), st.text())
def test_a_fault_arrives_whatever_its_sentence(code: int, message: str) -> None:
    with pytest.raises(Fault) as caught:
        xml.loads_response(xml.dumps_fault(Fault(code, message)))
    assert (caught.value.code, caught.value.message) == (code, values.harmless(message))


@given(st.lists(VALUES, max_size=3))
def test_the_standard_library_reads_our_calls(params: list[Any]) -> None:
    received, method = xmlrpc.client.loads(xml.dumps_call("m", params), use_builtin_types=True)
    assert method == "m"
    assert same(list(received), params)


@given(st.lists(VALUES, max_size=3))
@settings(max_examples=50)
def test_we_read_calls_of_the_standard_library(params: list[Any]) -> None:
    sent = xmlrpc.client.dumps(tuple(params), "m").encode()
    # It writes years before 1000 without leading zeros, which nobody can read.
    if b"dateTime" not in sent:
        assert same(xml.loads_call(sent).params, params)


@given(VALUES)
@settings(max_examples=50)
def test_the_standard_library_reads_our_answers(value: Any) -> None:
    (received,), _ = xmlrpc.client.loads(xml.dumps_response(value), use_builtin_types=True)
    assert same(received, value)


def test_the_standard_library_reads_our_faults_and_we_read_its_own() -> None:
    with pytest.raises(xmlrpc.client.Fault) as caught:
        xmlrpc.client.loads(xml.dumps_fault(Fault(-40, "line 3: <bad> & worse")))
    assert (caught.value.faultCode, caught.value.faultString) == (-40, "line 3: <bad> & worse")
    with pytest.raises(Fault) as ours:
        xml.loads_response(xmlrpc.client.dumps(xmlrpc.client.Fault(7, "no")).encode())
    assert (ours.value.code, ours.value.message) == (7, "no")


def test_we_read_dates_of_the_standard_library() -> None:
    moment = datetime(2026, 11, 23, 4, 5, 6)  # noqa: DTZ001 - XML-RPC has no zones
    assert xml.loads_call(xmlrpc.client.dumps((moment,), "m").encode()).params == [moment]


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (None, "None, which XML-RPC does not have"),
        ((1, 2), "a tuple, which would not arrive as it is"),
        ({1, 2}, "a set, which"),
        (date(2026, 1, 1), "a date, which"),
        (bytearray(b"x"), "a bytearray, which"),
        (object(), "an object, which"),
        (enum.IntEnum("Color", "RED")(1), "a Color, which"),
        (2**31, "a number beyond 32 bit"),
        (-(2**31) - 1, "a number beyond 32 bit"),
        (float("inf"), "an infinite number or none at all"),
        (float("nan"), "an infinite number or none at all"),
        ({1: 2}, "a dict with an int as a key"),
        ("a\0b", "the character U+0000, which XML cannot carry"),
        ("\x1b[31m", "the character U+001B"),
        ("a\r\nb", "the character U+000D"),
        ("\ufffe", "the character U+FFFE"),
        ("\udc80", "the character U+DC80"),
        ({"k\0": 1}, "a key with the character U+0000"),
        (datetime(2026, 1, 1, tzinfo=UTC), "a time with a zone or fractions of a second"),
        (datetime(2026, 1, 1, microsecond=1), "a time with a zone"),  # noqa: DTZ001
    ],
)
def test_what_would_not_arrive_as_it_is_is_refused_before_it_is_sent(value: object, what: str) -> None:
    refused = refusal(value)
    assert refused.message.startswith(f"params[0] is or contains {what}")
    assert refused.hint.endswith(".")


def test_a_refusal_says_where_the_value_is() -> None:
    assert refusal({"rules": [1, {"descr": "a\0"}]}).message.startswith("params[0].rules[1].descr is or contains")
    with pytest.raises(CodecError, match=r"^the answer\[0\] is or contains None"):
        xml.dumps_response([None])


def test_the_place_in_a_refusal_is_short_and_printable() -> None:
    message = refusal({"k" * 5000: {"\x1b": 1}}).message
    assert len(message) < 400
    assert "\x1b" not in message


def test_a_list_that_contains_itself_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    assert "more than 64 lists and dicts within each other" in refusal(endless).message


def test_what_is_as_deep_as_is_allowed_arrives() -> None:
    deep: list[Any] = []
    for _ in range(values.DEPTH_MAX - 1):
        deep = [deep]
    assert xml.loads_call(xml.dumps_call("m", [deep])).params == [deep]
    assert "more than 64" in refusal([deep]).message


def test_what_has_as_many_elements_as_are_allowed_arrives() -> None:
    # methodCall, methodName, params, param, value, array, data; and two for each number.
    most = [7] * ((values.ELEMENTS_MAX - 7) // 2)
    assert xml.loads_call(xml.dumps_call("m", [most])).params == [most]
    refused = refusal([*most, 7])
    assert "more than 250000 elements" in refused.message
    assert "as JSON" in refused.hint


def test_too_much_is_refused_before_it_is_sent() -> None:
    with pytest.raises(CodecError, match="the document is larger than 1000 bytes"):
        xml.dumps_call("m", ["x" * 1000], size_max=1000)
    with pytest.raises(CodecError, match="the document is larger than 1000 bytes"):
        xml.dumps_response("ü" * 490, size_max=1000)


@pytest.mark.parametrize("name", ["", "a b", "a<b", "ä", "m" * 129])
def test_only_names_of_methods_can_be_called(name: str) -> None:
    with pytest.raises(CodecError, match="is no name of a method"):
        xml.dumps_call(name)


def test_a_long_fault_is_cut() -> None:
    with pytest.raises(Fault) as caught:
        xml.loads_response(xml.dumps_fault(Fault(1, "x" * 100_000)))
    assert len(caught.value.message) == 64 * 1024
    assert caught.value.message.endswith(" …")


def test_a_call_is_no_answer_and_an_answer_no_call() -> None:
    with pytest.raises(CodecError, match="an answer instead of a call"):
        xml.loads_call(xml.dumps_response(1))
    with pytest.raises(CodecError, match="an answer instead of a call"):
        xml.loads_call(xml.dumps_fault(Fault(1, "no")))
    with pytest.raises(CodecError, match="a call instead of an answer"):
        xml.loads_response(xml.dumps_call("m", [1]))


def test_ten_megabytes_take_a_moment() -> None:
    blob = os.urandom(10_000_000)
    begun = time.process_time()
    assert xml.loads_call(xml.dumps_call("m", [{"rules": blob}])).params == [{"rules": blob}]
    assert time.process_time() - begun < 0.4
