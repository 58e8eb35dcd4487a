"""Reads XML-RPC documents with expat: a grammar of nineteen tags and nothing beside it.

Expat works without recursion and in time linear in the document when it gets all of it at once. What it
would do beyond plain elements (document types, entities, processing instructions, other encodings) ends
the parse at its first sign. Comments are passed over.
"""

from __future__ import annotations

import binascii
import math
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, NoReturn
from xml.parsers import expat

from appliance.rpc import values
from appliance.rpc.values import Value, unreadable

_SPACE = " \t\r\n"
_TYPES = frozenset({"int", "i4", "boolean", "double", "string", "base64", "dateTime.iso8601", "array", "struct"})
_LEAVES = (_TYPES | {"name", "methodName"}) - {"array", "struct"}

_FIXED: dict[str, tuple[frozenset[str], ...]] = {
    "": (frozenset({"methodCall", "methodResponse"}),),
    "methodCall": (frozenset({"methodName"}), frozenset({"params"})),
    "methodResponse": (frozenset({"params", "fault"}),),
    "param": (frozenset({"value"}),),
    "fault": (frozenset({"value"}),),
    "value": (_TYPES,),
    "array": (frozenset({"data"}),),
    "member": (frozenset({"name"}), frozenset({"value"})),
}
"""Elements with a fixed sequence of children: what each place allows."""
_REPEATED = {"params": frozenset({"param"}), "data": frozenset({"value"}), "struct": frozenset({"member"})}
_NONE: frozenset[str] = frozenset()
_MUST_HAVE = {"methodCall": 1, "methodResponse": 1, "param": 1, "fault": 1, "array": 1, "member": 2}

_ATTRIBUTE = re.compile(rb"<[^\x00-\x20<>/!?][^\x00-\x20<>/]*[ \t\r\n]+[^\x00-\x20>/]")
"""A tag with attributes. Expat would collect a million of them before it asks, and let nothing else run."""
_INT = re.compile(r"[+-]?[0-9]{1,10}")
_DOUBLE = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_DOUBLE_MAX = 400
"""Characters; the largest double written without an exponent has 309 digits."""
_DATE = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})")


class FaultStruct(dict[str, Any]):
    """The struct of a fault, so that it cannot be taken for the value of an answer."""


class CallParts(list[Any]):
    """Name and parameters of a call."""


def read(document: bytes, *, size_max: int) -> object:
    """What a document says: `CallParts`, `FaultStruct`, or a list with the one value of an answer.

    Raises:
        CodecError: It is not XML-RPC, or exceeds a limit.
    """
    if len(document) > size_max:
        raise unreadable(f"{len(document)} bytes, at most {size_max} are read")
    if b"\0" in document:
        # Expat recognizes UTF-16 by itself, against what it is told.
        raise unreadable("a NUL byte: it is in UTF-16 instead of UTF-8, or no text")
    found = _ATTRIBUTE.search(document)
    if found is not None:
        raise unreadable(f"a tag has attributes ({found.group()[:32].decode(errors='replace')!r})")
    return _Reader(document).result()


class _Open:
    """An element that has begun."""

    __slots__ = ("begin", "items", "tag")

    def __init__(self, tag: str, begin: int) -> None:
        self.tag = tag
        self.begin = begin
        self.items: list[Any] = []


class _Reader:
    """One parse."""

    def __init__(self, document: bytes) -> None:
        self._document = document
        self._carriage = b"\r" in document
        self._open = [_Open("", 0)]
        self._elements = 0
        self._depth = 0
        self._text: list[str] = []
        # The encoding given here wins over the one of the document, which is checked below.
        self._parser = parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.buffer_size = 64 * 1024
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append
        parser.XmlDeclHandler = self._declaration
        parser.StartDoctypeDeclHandler = _refuse_doctype
        parser.EntityDeclHandler = _refuse_doctype
        parser.ProcessingInstructionHandler = _refuse_instruction

    def result(self) -> object:
        try:
            self._parser.Parse(self._document, True)
        except expat.ExpatError as error:
            what = expat.ErrorString(error.code)
            raise unreadable(f"{what} at line {error.lineno}, column {error.offset}") from None
        finally:
            # The parser refers to the methods of this object and they to it.
            self._parser.StartElementHandler = self._parser.EndElementHandler = None
            self._parser.CharacterDataHandler = self._parser.XmlDeclHandler = None
        return self._open[0].items[0]

    def _declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() not in ("utf-8", "us-ascii"):
            self._refuse(f"encoding {encoding[:32]!r} instead of UTF-8")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        parent = self._open[-1]
        if tag not in self._allowed(parent):
            within = f"inside <{parent.tag}>" if parent.tag else "as the outermost element"
            self._refuse(f"<{tag[:32]}> does not belong here, {within}")
        if attributes:
            self._refuse(f"<{tag}> has attributes")
        self._elements += 1
        if self._elements > values.ELEMENTS_MAX:
            self._refuse(f"more than {values.ELEMENTS_MAX} elements")
        if tag in ("array", "struct"):
            self._depth += 1
            if self._depth > values.DEPTH_MAX:
                self._refuse(f"nested more than {values.DEPTH_MAX} deep")
        self._no_text(parent.tag)
        self._open.append(_Open(tag, self._parser.CurrentByteIndex if self._carriage else 0))

    def _allowed(self, parent: _Open) -> frozenset[str]:
        repeated = _REPEATED.get(parent.tag)
        if repeated is not None:
            return repeated
        fixed = _FIXED.get(parent.tag, ())
        place = len(parent.items)
        return fixed[place] if place < len(fixed) else _NONE

    def _end(self, tag: str) -> None:
        done = self._open.pop()
        if len(done.items) < _MUST_HAVE.get(tag, 0):
            self._refuse(f"<{tag}> is incomplete")
        if tag in _LEAVES or (tag == "value" and not done.items):
            if self._carriage:
                self._no_carriage_return(done)
            text = "".join(self._text)
            self._text.clear()
            self._open[-1].items.append(self._leaf(tag, text))
            return
        self._no_text(tag)
        if tag in ("array", "struct"):
            self._depth -= 1
        self._open[-1].items.append(self._branch(tag, done.items))

    def _no_text(self, tag: str) -> None:
        if self._text:
            if "".join(self._text).strip(_SPACE):
                self._refuse(f"<{tag}> contains text next to elements")
            self._text.clear()

    def _no_carriage_return(self, done: _Open) -> None:
        # Expat has turned it into a line feed already, as XML wants: the value is not what was sent.
        if done.tag in ("string", "value", "name"):
            source = self._document[done.begin : self._parser.CurrentByteIndex]
            if b"\r" in source:
                self._refuse("a carriage return inside a string (send it as base64)")

    def _branch(self, tag: str, items: list[Any]) -> object:
        match tag:
            case "struct":
                made = dict(items)
                if len(made) != len(items):
                    self._refuse("a struct has two members of the same name")
                return made
            case "params" | "data":
                return items
            case "member":
                return (items[0], items[1])
            case "methodCall":
                return CallParts([items[0], items[1] if len(items) > 1 else []])
            case "methodResponse":
                return self._answer(items[0])
            case "fault":
                return self._fault(items[0])
        # array, param, value: they wrap one thing.
        return items[0]

    def _answer(self, content: object) -> object:
        if isinstance(content, list) and len(content) != 1:
            self._refuse(f"an answer has one value, this one has {len(content)}")
        return content

    def _fault(self, content: object) -> FaultStruct:
        fields = content if isinstance(content, dict) else {}
        code, text = fields.get("faultCode"), fields.get("faultString")
        if len(fields) != 2 or type(code) is not int or type(text) is not str:
            self._refuse("a fault has exactly a faultCode (int) and a faultString (string)")
        return FaultStruct(code=code, text=text)

    def _leaf(self, tag: str, text: str) -> Value:
        if tag in ("string", "value", "name"):
            return text
        made = _SCALARS[tag](text.strip(_SPACE))
        if made is None:
            self._refuse(f"{text[:32]!r} is no <{tag}>")
        return made

    def _refuse(self, what: str) -> NoReturn:
        raise unreadable(f"{what} (line {self._parser.CurrentLineNumber})")


def _refuse_doctype(*_: object) -> NoReturn:
    raise unreadable("it has a document type or entities")


def _refuse_instruction(*_: object) -> NoReturn:
    raise unreadable("it has a processing instruction")


def _method(text: str) -> str | None:
    return text if values.is_method(text) else None


def _int(text: str) -> int | None:
    if _INT.fullmatch(text) is None:
        return None
    number = int(text)
    return number if values.INT_MIN <= number <= values.INT_MAX else None


def _boolean(text: str) -> bool | None:
    return {"0": False, "1": True}.get(text)


def _double(text: str) -> float | None:
    if len(text) > _DOUBLE_MAX or _DOUBLE.fullmatch(text) is None:
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def _base64(text: str) -> bytes | None:
    try:
        packed = text.encode("ascii").translate(None, _SPACE.encode())
        return binascii.a2b_base64(packed, strict_mode=True)
    except ValueError:
        return None


def _date(text: str) -> datetime | None:
    found = _DATE.fullmatch(text)
    try:
        return None if found is None else datetime(*map(int, found.groups()))  # type: ignore[arg-type]  # noqa: DTZ001
    except ValueError:
        return None


_SCALARS: dict[str, Callable[[str], Value | None]] = {
    "methodName": _method,
    "int": _int,
    "i4": _int,
    "boolean": _boolean,
    "double": _double,
    "base64": _base64,
    "dateTime.iso8601": _date,
}
