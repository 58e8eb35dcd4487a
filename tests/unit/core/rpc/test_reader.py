"""What is read and what is refused, with hostile documents."""

from __future__ import annotations

import time
import xmlrpc.client
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.rpc import values, xml
from appliance.rpc.errors import CodecError
from appliance.rpc.faults import Fault

NUMBERS = "<array><data>" + "<value><int>1</int></value>" * 130_000 + "</data></array>"


def call(value: str) -> bytes:
    return f"<methodCall><methodName>m</methodName><params><param>{value}</param></params></methodCall>".encode()


def read(value: str) -> Any:
    (found,) = xml.loads_call(call(value)).params
    return found


def refusal(document: bytes) -> str:
    begun = time.process_time()
    with pytest.raises(CodecError) as caught:
        xml.loads_call(document)
    assert time.process_time() - begun < 2, "bounded time"
    assert caught.value.message.startswith("not XML-RPC: ")
    assert len(caught.value.message) < 300
    return caught.value.message.removeprefix("not XML-RPC: ")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("<value><i4>-7</i4></value>", -7),
        ("<value>\n <int> +12 </int>\n</value>", 12),
        ("<value><boolean>1</boolean></value>", True),
        ("<value><boolean>0</boolean></value>", False),
        ("<value><double>-1.5e3</double></value>", -1500.0),
        ("<value><double>.5</double></value>", 0.5),
        ("<value><double>7</double></value>", 7.0),
        ("<value>plain &lt;text&gt;</value>", "plain <text>"),
        ("<value> spaces are kept </value>", " spaces are kept "),
        ("<value></value>", ""),
        ("<value/>", ""),
        ("<value><string/></value>", ""),
        ("<value><string>a<![CDATA[<b>]]>c</string></value>", "a<b>c"),
        ("<value><string>a<!-- not meant for you -->b</string></value>", "ab"),
        ("<value><string>a&#13;b&#x1F600;</string></value>", "a\rb\U0001f600"),
        ("<value><base64>\n  aGVs\n  bG8=\n</base64></value>", b"hello"),
        ("<value><base64/></value>", b""),
        ("<value><dateTime.iso8601>20261123T04:05:06</dateTime.iso8601></value>", datetime(2026, 11, 23, 4, 5, 6)),  # noqa: DTZ001
        ("<value><array><data/></array></value>", []),
        ("<value><struct/></value>", {}),
        ("<value><struct>\n<member>\n<name>a</name>\n<value>b</value>\n</member>\n</struct></value>", {"a": "b"}),
        ("<value><struct><member><name/><value/></member></struct></value>", {"": ""}),
    ],
)
def test_every_way_to_write_a_value_is_read(value: str, expected: object) -> None:
    found = read(value)
    assert found == expected
    assert type(found) is type(expected)


def test_a_call_may_lack_parameters() -> None:
    assert xml.loads_call(b"<methodCall><methodName>m</methodName></methodCall>") == ("m", [])
    assert xml.loads_call(b"<methodCall><methodName>m</methodName><params/></methodCall>") == ("m", [])


def test_a_byte_order_mark_and_carriage_returns_between_tags_do_no_harm() -> None:
    document = call("<value>\r\n<string>x</string>\r\n</value>").replace(b"><p", b">\r\n<p")
    assert xml.loads_call(b"\xef\xbb\xbf<?xml version='1.0' encoding='UTF-8'?>\r\n" + document).params == ["x"]


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("<value><int>2147483648</int></value>", "'2147483648' is no <int>"),
        ("<value><int>-2147483649</int></value>", "is no <int>"),
        (f"<value><int>{'9' * 6000}</int></value>", "is no <int>"),
        ("<value><int>1.0</int></value>", "is no <int>"),
        ("<value><int>1_0</int></value>", "is no <int>"),
        ("<value><int>\u0661</int></value>", "is no <int>"),
        ("<value><int/></value>", "'' is no <int>"),
        ("<value><i8>1</i8></value>", "<i8> does not belong here, inside <value>"),
        ("<value><nil/></value>", "<nil> does not belong here"),
        ("<value><bigdecimal>1</bigdecimal></value>", "<bigdecimal> does not belong here"),
        ("<value><ex:nil/></value>", "<ex:nil> does not belong here"),
        ("<value><boolean>true</boolean></value>", "'true' is no <boolean>"),
        ("<value><double>1e999</double></value>", "is no <double>"),
        ("<value><double>nan</double></value>", "is no <double>"),
        (f"<value><double>{'1' * 401}</double></value>", "is no <double>"),
        ("<value><base64>aGVsbG8</base64></value>", "is no <base64>"),
        ("<value><base64>aGVsb*8=</base64></value>", "is no <base64>"),
        ("<value><base64>aGVsbG8=aGVs</base64></value>", "is no <base64>"),
        ("<value><base64>\u2003aGVsbG8=</base64></value>", "is no <base64>"),
        ("<value><dateTime.iso8601>20261323T04:05:06</dateTime.iso8601></value>", "is no <dateTime.iso8601>"),
        ("<value><dateTime.iso8601>2026-11-23T04:05:06</dateTime.iso8601></value>", "is no <dateTime.iso8601>"),
        ("<value>1<int>2</int></value>", "<value> contains text next to elements"),
        ("<value><int>2</int>1</value>", "<value> contains text next to elements"),
        ("<value>\u00a0<int>2</int></value>", "<value> contains text next to elements"),
        ("<value><int>1</int><int>2</int></value>", "<int> does not belong here, inside <value>"),
        ("<value><int><int>2</int></int></value>", "<int> does not belong here, inside <int>"),
        ("<value><string>a<b/></string></value>", "<b> does not belong here, inside <string>"),
        ("<value><array></array></value>", "<array> is incomplete"),
        ("<value><array><data/><data/></array></value>", "<data> does not belong here, inside <array>"),
        ("<value><array><data>x</data></array></value>", "<data> contains text next to elements"),
        ("<value><struct><member><name>a</name></member></struct></value>", "<member> is incomplete"),
        ("<value><struct><member><value/><name>a</name></member></struct></value>", "<value> does not belong here"),
        ("<value><struct><value/></struct></value>", "<value> does not belong here, inside <struct>"),
        (
            "<value><struct>" + "<member><name>a</name><value/></member>" * 2 + "</struct></value>",
            "a struct has two members of the same name",
        ),
        ("<value xmlns='x'/>", "a tag has attributes ('<value x')"),
        ("<value\n\ta='1'><int>1</int></value>", "a tag has attributes"),
        ("", "<param> is incomplete"),
        ("<value/><value/>", "<value> does not belong here, inside <param>"),
        ("<value>a\r\nb</value>", "a carriage return inside a string (send it as base64)"),
        ("<value><string>a\rb</string></value>", "a carriage return inside a string"),
        (
            "<value><struct><member><name>a\r</name><value/></member></struct></value>",
            "a carriage return inside a string",
        ),
        ("<value>&nbsp;</value>", "undefined entity"),
        ("<value>&#27;</value>", "reference to invalid character number"),
        ("<value>\x1b</value>", "not well-formed"),
        ("<value>", "mismatched tag"),
    ],
)
def test_everything_else_is_refused_with_a_reason(value: str, what: str) -> None:
    assert what in refusal(call(value))


@pytest.mark.parametrize(
    ("document", "what"),
    [
        (b"", "no element found"),
        (b"\x00\x01\x02", "a NUL byte"),
        (b'{"jsonrpc": "2.0"}', "not well-formed"),
        (b"<html/>", "<html> does not belong here, as the outermost element"),
        (b"<value><int>1</int></value>", "<value> does not belong here, as the outermost element"),
        (b"<methodCall/>", "<methodCall> is incomplete"),
        (b"<methodCall><params/></methodCall>", "<params> does not belong here"),
        (b"<methodCall><methodName>a b</methodName></methodCall>", "'a b' is no <methodName>"),
        (b"<methodCall><methodName>m</methodName></methodCall><x/>", "junk after document element"),
        (b"<methodCall><methodName>m</methodName></methodCall><?php system('id') ?>", "a processing instruction"),
        (b"<?xml-stylesheet href='x'?><methodCall/>", "a processing instruction"),
        (b"<?xml version='1.0' encoding='ISO-8859-1'?><methodCall/>", "encoding 'ISO-8859-1' instead of UTF-8"),
        ("<?xml version='1.0'?><methodCall/>".encode("utf-16"), "a NUL byte: it is in UTF-16"),
        ("\ufeff<methodCall/>".encode("utf-16-be"), "a NUL byte: it is in UTF-16"),
        ("<methodCall/>".encode("utf-16-le"), "a NUL byte"),
        (b"<methodCall><methodName>\xff</methodName></methodCall>", "not well-formed"),
        (b"<!DOCTYPE x><methodCall/>", "it has a document type or entities"),
        (b"<!DOCTYPE x SYSTEM 'file:///etc/passwd'><methodCall/>", "it has a document type or entities"),
    ],
)
def test_what_is_not_a_call_is_refused(document: bytes, what: str) -> None:
    assert what in refusal(document)


def test_entity_bombs_are_refused_at_the_document_type() -> None:
    entities = "".join(f"<!ENTITY l{level} '{f'&l{level - 1};' * 10}'>" for level in range(1, 10))
    bomb = f"<?xml version='1.0'?><!DOCTYPE b [<!ENTITY l0 'lol'>{entities}]>".encode()
    assert refusal(bomb + call("<value>&l9;</value>")) == "it has a document type or entities"
    wide = f"<!DOCTYPE b [<!ENTITY e '{'x' * 8000}'>]>".encode()
    assert refusal(wide + call(f"<value>{'&e;' * 900}</value>")) == "it has a document type or entities"
    outside = b"<!DOCTYPE b [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>"
    assert refusal(outside + call("<value>&e;</value>")) == "it has a document type or entities"
    parameter = b"<!DOCTYPE b [<!ENTITY % p SYSTEM 'http://127.0.0.1/'> %p;]>"
    assert refusal(parameter + call("<value/>")) == "it has a document type or entities"


@pytest.mark.parametrize("opening", ["<value><array><data>", "<value><struct><member><name>a</name>"])
def test_deep_nesting_is_refused(opening: str) -> None:
    assert "nested more than 64 deep" in refusal(call(opening * 200_000))


def test_too_many_elements_are_refused() -> None:
    assert f"more than {values.ELEMENTS_MAX} elements" in refusal(call(f"<value>{NUMBERS}</value>"))


def test_too_much_is_refused_unread() -> None:
    document = call(f"<value>{'x' * 1000}</value>")
    with pytest.raises(CodecError, match="1098 bytes, at most 1097 are read"):
        xml.loads_call(document, size_max=len(document) - 1)
    assert xml.loads_call(document, size_max=len(document)).params == ["x" * 1000]


@pytest.mark.parametrize(
    "filler",
    [b" ", b"<!-- -->", b"&amp;", b"<", b"<a", b"<value>", b"</value>", b"<a/ ", b"<a\n", b"]]>", b"<![CDATA["],
    ids=repr,
)
def test_sixteen_megabytes_of_nonsense_take_bounded_time(filler: bytes) -> None:
    room = values.BODY_MAX - 200
    body = filler * (room // len(filler))
    refusal(b"<methodCall><methodName>m</methodName><params><param><value>" + body)


def test_a_million_attributes_are_not_collected() -> None:
    attributes = b" ".join(b'a%d=">"' % number for number in range(1_000_000))
    assert "a tag has attributes" in refusal(b"<methodCall " + attributes + b"/>")


def answer(content: str) -> bytes:
    return f"<methodResponse>{content}</methodResponse>".encode()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "<methodResponse> is incomplete"),
        ("<params/>", "an answer has one value, this one has 0"),
        ("<params>" + "<param><value/></param>" * 2 + "</params>", "an answer has one value, this one has 2"),
        ("<fault/>", "<fault> is incomplete"),
        ("<fault><value>no</value></fault>", "a fault has exactly a faultCode (int) and a faultString (string)"),
        ("<fault><value><array><data/></array></value></fault>", "a fault has exactly"),
        (
            "<fault><value><struct><member><name>faultCode</name><value><boolean>1</boolean></value></member>"
            "<member><name>faultString</name><value>x</value></member></struct></value></fault>",
            "a fault has exactly",
        ),
    ],
)
def test_an_answer_has_one_value_or_one_fault(content: str, what: str) -> None:
    with pytest.raises(CodecError) as caught:
        xml.loads_response(answer(content))
    assert what in caught.value.message


def test_a_struct_that_looks_like_a_fault_is_a_value() -> None:
    looks = {"faultCode": 1, "faultString": "x"}
    assert xml.loads_response(xml.dumps_response(looks)) == looks


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_read(document: bytes) -> None:
    for loads in (xml.loads_call, xml.loads_response):
        with pytest.raises((CodecError, Fault)):
            loads(document)


VALID = xmlrpc.client.dumps(([1, "two", {"three": xmlrpc.client.Binary(b"four")}, 5.5, True],), "m").encode()


@given(st.data())
def test_damaged_calls_are_refused_or_read_as_something(data: st.DataObject) -> None:
    document = bytearray(VALID)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(document) - 1))
        match data.draw(st.sampled_from(["change", "cut", "repeat"])):
            case "change":
                document[place] = data.draw(st.integers(0, 255))
            case "cut":
                del document[place : place + data.draw(st.integers(1, 20))]
            case "repeat":
                document[place:place] = document[place : place + 40]
    try:
        found = xml.loads_call(bytes(document))
    except CodecError:
        return
    # What was read is something that we would send ourselves, except for written-out carriage returns.
    assert xml.loads_call(xml.dumps_call(found.method, found.params)) == found


TAGS = ["methodCall", "methodName", "params", "param", "value", "int", "string", "array", "data", "struct", "member"]


@given(
    st.lists(st.sampled_from([f"<{tag}>" for tag in TAGS] + [f"</{tag}>" for tag in TAGS] + ["1", "m"]), max_size=40)
)
def test_any_sequence_of_tags_is_refused_or_read(parts: list[str]) -> None:
    try:
        found = xml.loads_call("".join(parts).encode())
    except CodecError:
        return
    assert values.is_method(found.method)
