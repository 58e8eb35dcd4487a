"""The XML-RPC codec: strict in both directions, without I/O.

What cannot arrive as it was sent is refused before it is sent: None, tuples, 64-bit numbers, infinities,
carriage returns, control characters, times with a zone. What is read has exactly the types of `Value`.
"""

from __future__ import annotations

import binascii
import math
from datetime import datetime
from typing import NamedTuple, NoReturn, cast

from appliance.rpc import reader, values
from appliance.rpc.errors import CodecError
from appliance.rpc.faults import Fault
from appliance.rpc.values import Value, unreadable

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_FAULT_MAX = 64 * 1024
"""Characters of the sentence of a fault; a refused configuration may have many problems."""


class Call(NamedTuple):
    """A method that is to be called."""

    method: str
    params: list[Value]


def dumps_call(
    method: str, params: list[object] | tuple[object, ...] = (), *, size_max: int = values.BODY_MAX
) -> bytes:
    """A call as XML.

    Raises:
        CodecError: A value cannot be carried; says which and why.
    """
    if not values.is_method(method):
        raise CodecError(f"{method[:64]!r} is no name of a method", hint="Use letters, digits, and any of _ . : /")
    writer = _Writer(size_max)
    writer.put(f"{_HEAD}<methodCall><methodName>{method}</methodName><params>")
    for number, value in enumerate(params):
        writer.param(f"params[{number}]", value)
    writer.put("</params></methodCall>\n")
    return writer.document()


def dumps_response(value: object, *, size_max: int = values.BODY_MAX) -> bytes:
    """The answer of a method as XML.

    Raises:
        CodecError: The value cannot be carried; says why.
    """
    writer = _Writer(size_max)
    writer.put(f"{_HEAD}<methodResponse><params>")
    writer.param("the answer", value)
    writer.put("</params></methodResponse>\n")
    return writer.document()


def dumps_fault(fault: Fault) -> bytes:
    """A fault as XML. Never fails: what cannot be carried in its sentence is replaced by ``?``."""
    code = min(max(fault.code, values.INT_MIN), values.INT_MAX)
    message = values.harmless(fault.message)
    if len(message) > _FAULT_MAX:
        message = message[: _FAULT_MAX - 2] + " …"
    return (
        f"{_HEAD}<methodResponse><fault><value><struct>"
        f"<member><name>faultCode</name><value><int>{code}</int></value></member>"
        f"<member><name>faultString</name><value><string>{_escape(message)}</string></value></member>"
        "</struct></value></fault></methodResponse>\n"
    ).encode()


def loads_call(document: bytes, *, size_max: int = values.BODY_MAX) -> Call:
    """The call of a document.

    Raises:
        CodecError: It is not a call in XML-RPC, or exceeds a limit.
    """
    found = reader.read(document, size_max=size_max)
    if not isinstance(found, reader.CallParts):
        raise unreadable("an answer instead of a call")
    return Call(method=found[0], params=found[1])


def loads_response(document: bytes, *, size_max: int = values.BODY_MAX) -> Value:
    """The value of an answer.

    Raises:
        Fault: The method said no.
        CodecError: It is not an answer in XML-RPC, or exceeds a limit.
    """
    found = reader.read(document, size_max=size_max)
    if isinstance(found, reader.FaultStruct):
        raise Fault(found["code"], found["text"])
    if isinstance(found, reader.CallParts) or not isinstance(found, list):
        raise unreadable("a call instead of an answer")
    return cast("Value", found[0])


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class _Writer:
    """Collects one document and knows where in it it is."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._parts: list[str] = []
        self._path: list[str] = []
        self._size = 0
        # methodCall, methodName and params; an answer has one less.
        self._elements = 3

    def put(self, text: str) -> None:
        self._size += len(text)
        if self._size > self._size_max:
            self._too_large()
        self._parts.append(text)

    def document(self) -> bytes:
        made = "".join(self._parts).encode()
        if len(made) > self._size_max:
            self._too_large()
        return made

    def param(self, where: str, value: object) -> None:
        self._path.append(where)
        self._count(1)
        self.put("<param>")
        self._value(value, 0)
        self.put("</param>")
        self._path.pop()

    def _value(self, value: object, depth: int) -> None:
        kind = type(value)
        self._count(2)
        if kind is str:
            self._check(cast("str", value), "")
            self.put(f"<value><string>{_escape(cast('str', value))}</string></value>")
        elif kind is bytes:
            packed = binascii.b2a_base64(cast("bytes", value), newline=False).decode("ascii")
            self.put(f"<value><base64>{packed}</base64></value>")
        elif kind is bool:
            self.put(f"<value><boolean>{int(cast('bool', value))}</boolean></value>")
        elif kind is int:
            if not values.INT_MIN <= cast("int", value) <= values.INT_MAX:
                self._refuse("a number beyond 32 bit", "Send it as a string.")
            self.put(f"<value><int>{value}</int></value>")
        elif kind is float:
            if not math.isfinite(cast("float", value)):
                self._refuse("an infinite number or none at all", "Leave it out, or send it as a string.")
            self.put(f"<value><double>{value!r}</double></value>")
        elif kind is list:
            self._list(cast("list[object]", value), depth + 1)
        elif kind is dict:
            self._struct(cast("dict[object, object]", value), depth + 1)
        elif kind is datetime:
            self._date(cast("datetime", value))
        elif value is None:
            self._refuse("None, which XML-RPC does not have", "Leave it out.")
        else:
            hint = "Convert it to a bool, int, float, str, bytes, datetime, list or dict of its own."
            self._refuse(f"{_article(kind.__name__)}, which would not arrive as it is", hint)

    def _list(self, value: list[object], depth: int) -> None:
        self._deep(depth)
        self._count(1)
        self.put("<value><array><data>")
        for number, item in enumerate(value):
            self._path.append(f"[{number}]")
            self._value(item, depth)
            self._path.pop()
        self.put("</data></array></value>")

    def _struct(self, value: dict[object, object], depth: int) -> None:
        self._deep(depth)
        self._count(2 * len(value))
        self.put("<value><struct>")
        for key, item in value.items():
            if type(key) is not str:
                self._refuse(f"a dict with {_article(type(key).__name__)} as a key", "Use strings as keys.")
            self._check(key, "a key with ")
            self._path.append(f".{key}")
            self.put(f"<member><name>{_escape(key)}</name>")
            self._value(item, depth)
            self.put("</member>")
            self._path.pop()
        self.put("</struct></value>")

    def _date(self, value: datetime) -> None:
        if value.tzinfo is not None or value.microsecond:
            self._refuse("a time with a zone or fractions of a second", "Send it as a string or as seconds.")
        made = f"{value.year:04d}{value.month:02d}{value.day:02d}T{value:%H:%M:%S}"
        self.put(f"<value><dateTime.iso8601>{made}</dateTime.iso8601></value>")

    def _check(self, text: str, what: str) -> None:
        character = values.unsendable(text)
        if character is not None:
            self._refuse(f"{what}the character {character}, which XML cannot carry", "Send it as bytes.")

    def _deep(self, depth: int) -> None:
        if depth > values.DEPTH_MAX:
            self._refuse(f"more than {values.DEPTH_MAX} lists and dicts within each other", "Send it as bytes.")

    def _count(self, elements: int) -> None:
        self._elements += elements
        if self._elements > values.ELEMENTS_MAX:
            self._refuse(f"more than {values.ELEMENTS_MAX} elements", "Send it as bytes, for example as JSON.")

    def _too_large(self) -> NoReturn:
        raise CodecError(
            f"the document is larger than {self._size_max} bytes", hint="Send less at a time, or send it compressed."
        )

    def _refuse(self, what: str, hint: str) -> NoReturn:
        where = "".join(self._path)
        if len(where) > 200:
            where = f"{where[:100]} … {where[-100:]}"
        raise CodecError(f"{values.harmless(where)} is or contains {what}", hint=hint)


def _article(noun: str) -> str:
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"
