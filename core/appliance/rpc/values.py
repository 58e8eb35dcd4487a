"""What XML-RPC can carry, and how much of it.

Both directions share these limits: what one node sends, the other reads.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from appliance.rpc.errors import CodecError

Value = bool | int | float | str | bytes | datetime | list["Value"] | dict[str, "Value"]
"""What is read: exactly these types. No nil: an absent value is an absent member."""

BODY_MAX: Final = 16 * 1024 * 1024
"""Bytes of one document. 10 MB of configuration are 13 MB in base64."""
DEPTH_MAX: Final = 64
"""Arrays and structs within each other."""
ELEMENTS_MAX: Final = 250_000
"""Tags of one document; about half a second of work. Large data travels as one base64 value."""
METHOD_MAX: Final = 128
"""Characters of the name of a method."""
INT_MIN: Final = -(2**31)
INT_MAX: Final = 2**31 - 1
"""XML-RPC has 32 bit."""
LARGE: Final = 256 * 1024
"""Bytes from which on a document is worth the way to a worker thread (0.1 ms) and back."""

_PARTS_MAX = 1000

_METHOD = re.compile(r"[A-Za-z0-9_.:/]+")
_UNSENDABLE = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no place for, and the carriage return, which parsers turn into a line feed."""


def is_method(name: str) -> bool:
    """Whether this can be the name of a method."""
    return 0 < len(name) <= METHOD_MAX and _METHOD.fullmatch(name) is not None


def unsendable(text: str) -> str | None:
    """The first character of a text that cannot travel in XML, as ``U+001B``; ``None`` if all can."""
    found = _UNSENDABLE.search(text)
    return None if found is None else f"U+{ord(found.group()):04X}"


def harmless(text: str) -> str:
    """A sentence for people with every character that cannot travel replaced by ``?``."""
    return _UNSENDABLE.sub("?", text)


def is_large(value: object) -> bool:
    """Whether a value is worth a worker thread. Looks at a thousand parts of it only: more are many."""
    budget, seen, waiting = LARGE, 0, [value]
    while waiting:
        current = waiting.pop()
        seen += 1
        if isinstance(current, str | bytes):
            budget -= len(current)
        elif isinstance(current, list | tuple):
            budget -= 16 * len(current)
        elif isinstance(current, dict):
            budget -= 64 * len(current)
        if budget < 0 or seen > _PARTS_MAX:
            return True
        if isinstance(current, list | tuple):
            waiting.extend(current)
        elif isinstance(current, dict):
            waiting.extend(current.values())
    return False


def unreadable(what: str) -> CodecError:
    """The error for a document that is not XML-RPC."""
    return CodecError(f"not XML-RPC: {what}", hint="Use a client that speaks XML-RPC, of the version of this node.")
