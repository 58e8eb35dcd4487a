"""A greeting as bytes and back. Knows no socket and no clock, so a test is one line.

Layout: ``HELO``, length of the node's name (1 byte), name, text; both UTF-8.
"""

from __future__ import annotations

from dataclasses import dataclass

MAGIC = b"HELO"

NAME_MAX = 63
"""As for host names."""

TEXT_MAX = 320
"""80 characters of at most four bytes."""


class MalformedGreetingError(Exception):
    """Bytes that are no greeting; something to count, never a reason to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """One node telling the others what it was told."""

    node: str
    text: str


def encode(greeting: Greeting) -> bytes:
    """A greeting as one datagram."""
    name, text = greeting.node.encode(), greeting.text.encode()
    if not 0 < len(name) <= NAME_MAX or len(text) > TEXT_MAX:
        raise ValueError(f"a name of 1 to {NAME_MAX} bytes and a text of at most {TEXT_MAX} are needed")
    return MAGIC + bytes([len(name)]) + name + text


def decode(data: bytes) -> Greeting:
    """The greeting in a datagram.

    Raises:
        MalformedGreetingError: It is something else.
    """
    if data[:4] != MAGIC or len(data) < 6:
        raise MalformedGreetingError("no greeting")
    length = data[4]
    name, text = data[5 : 5 + length], data[5 + length :]
    if not 0 < length <= NAME_MAX or len(name) != length or len(text) > TEXT_MAX:
        raise MalformedGreetingError("lengths do not fit")
    try:
        return Greeting(node=name.decode(), text=text.decode())
    except UnicodeDecodeError:
        raise MalformedGreetingError("not UTF-8") from None
