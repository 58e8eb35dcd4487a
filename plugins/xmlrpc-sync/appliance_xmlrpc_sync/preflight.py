"""What has to be true of a peer before anything is sent: it is no primary, of this version, and has the interfaces.

Pure. What a peer says is checked here before it is believed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from appliance.events.config import Section
from appliance.plugin import API
from appliance_xmlrpc_sync.causes import Cause, SyncError
from appliance_xmlrpc_sync.settings import PRODUCT

NAMES_MAX = 1024
"""Interfaces, tables or sections that a peer may have."""
TEXT_MAX = 256
SHOWN_MAX = 20
"""Names in a message; more would hide what it says."""


_TIME_MAX = 253_402_300_799
"""The end of the year 9999, which is the last one that has a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a peer says of itself."""

    node: str
    role: str
    version: str
    api: tuple[int, int]
    time: float
    """Its clock, in seconds since the epoch."""
    schemas: Mapping[str, str] = field(default_factory=dict)
    """Digest of the shape of each plugin's table."""
    addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Own addresses by logical interface."""
    utc_offset_s: int | None = None
    """How far its local time is ahead of UTC; ``None``: it does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Digests:
    """The sections of a peer."""

    revision: int
    sections: Mapping[str, str]
    drift: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Sections that were changed there: ``who`` and ``when``."""
    unconfirmed: frozenset[str] = frozenset()
    """Sections in force that will go away: nobody has confirmed them."""


def read_hello(value: object) -> Hello:
    """The answer of ``appliance.host_firmware_version``.

    Raises:
        SyncError: It is not what an appliance says.
    """
    said = _struct(value, "host_firmware_version")
    if said.get("product") != PRODUCT:
        raise SyncError(
            Cause.VERSION,
            f"the other side is {_text(said.get('product')) or 'an unknown product'}, not {PRODUCT}",
            hint="Run the same software on all nodes of the cluster.",
        )
    api = said.get("api")
    if not isinstance(api, list) or len(api) != 2 or not all(type(each) is int for each in api):
        raise _nonsense("host_firmware_version", "api")
    time = said.get("time")
    if not isinstance(time, int | float):
        raise _nonsense("host_firmware_version", "time")
    addresses = _struct(said.get("addresses", {}), "host_firmware_version")
    offset = said.get("utc_offset")
    return Hello(
        node=_text(said.get("node")) or "?",
        role=_text(said.get("role")),
        version=_text(said.get("version")),
        api=(api[0], api[1]),
        time=float(time),
        schemas=_texts(said.get("schemas", {}), "host_firmware_version"),
        addresses={
            name: tuple(_text(each) for each in found) for name, found in addresses.items() if isinstance(found, list)
        },
        utc_offset_s=offset if type(offset) is int else None,
    )


def read_digests(value: object) -> Digests:
    """The answer of ``appliance.config_digest``.

    Raises:
        SyncError: It is not what an appliance says.
    """
    said = _struct(value, "config_digest")
    if type(said.get("revision")) is not int:
        raise _nonsense("config_digest", "revision")
    drift = _struct(said.get("drift", {}), "config_digest")
    unconfirmed = said.get("unconfirmed", [])
    if not isinstance(unconfirmed, list) or len(unconfirmed) > NAMES_MAX:
        raise _nonsense("config_digest", "unconfirmed")
    return Digests(
        revision=said["revision"],
        sections=_texts(said.get("sections"), "config_digest"),
        drift={
            name: {"who": _text(each.get("who")), "when": _when(each.get("when"))} if isinstance(each, dict) else {}
            for name, each in drift.items()
        },
        unconfirmed=frozenset(each for each in unconfirmed if isinstance(each, str)),
    )


def refuse_circle(hello: Hello, *, own_name: str) -> None:
    """A primary is not sent to, and a node not to itself.

    Raises:
        SyncError: It would make a circle.
    """
    if hello.node == own_name:
        raise SyncError(
            Cause.LOOP,
            f"the peer calls itself {own_name} as this node does: it is this node, or another one of its name",
            hint="Correct `xmlrpc_sync.peers`, or give each node a name of its own ([node] name).",
        )
    if hello.role == "primary":
        raise SyncError(
            Cause.LOOP,
            f"{hello.node} is a primary too: nobody owns the shared configuration",
            hint='Set [node] role = "secondary" on one of the two and remove its `xmlrpc_sync.peers`.',
        )


def refuse_version(hello: Hello, schemas: Mapping[str, str], sections: Iterable[Section]) -> None:
    """Both nodes have to mean the same by every table that is sent.

    Raises:
        SyncError: They do not.
    """
    if hello.api[0] != API[0]:
        raise SyncError(
            Cause.VERSION,
            f"{hello.node} has version {hello.version or '?'} with API {_dotted(hello.api)}, this node {_dotted(API)}",
            hint="Upgrade the older node.",
        )
    owners = dict.fromkeys(each.owner for each in sections if each.data.value)
    missing = [owner for owner in owners if owner not in hello.schemas]
    if missing:
        raise SyncError(
            Cause.VERSION,
            f"{hello.node} lacks the plugin{'s' * (len(missing) > 1)} {_listed(missing)}",
            hint="Install the same plugins on both nodes, or turn their sections off (`xmlrpc_sync.off`).",
        )
    other = [owner for owner in owners if owner in schemas and hello.schemas[owner] != schemas[owner]]
    if other:
        raise SyncError(
            Cause.VERSION,
            f"{hello.node} (version {hello.version or '?'}) has another form of the tables of {_listed(other)}",
            hint="Upgrade the older node; until then commit changes of these on both nodes.",
        )


def refuse_missing_interfaces(hello: Hello, own: Iterable[str], sections: Iterable[Section]) -> None:
    """Every logical interface of this node that the sections name exists there, too.

    Raises:
        SyncError: Some are missing; names them and who needs them.
    """
    absent = set(own) - hello.addresses.keys()
    needed: dict[str, list[str]] = {}
    for section in sections if absent else ():  # every string of a large section is looked at
        for name in dict.fromkeys(named_interfaces(section.data.value)):
            if name in absent:
                needed.setdefault(name, []).append(section.name)
    if needed:
        parts = [f"{name} (for {', '.join(users[:3])})" for name, users in needed.items()]
        raise SyncError(
            Cause.INTERFACES,
            f"{hello.node} has no interface {_listed(parts)}",
            hint="Give it interfaces of the same logical names in [interfaces]; devices and addresses may differ.",
        )


def named_interfaces(data: Any, key: str = "") -> Iterator[str]:
    """Strings in the data of a section that name an interface, by the key or by their form ``net:IF``."""
    if isinstance(data, Mapping):
        for inner, value in data.items():
            yield from named_interfaces(value, inner)
    elif isinstance(data, list):
        for value in data:
            yield from named_interfaces(value, key)
    elif isinstance(data, str):
        kind, colon, name = data.removeprefix("!").strip().partition(":")
        if "interface" in key:
            yield data
        elif colon and kind in ("net", "address"):
            yield name


def _struct(value: object, method: str) -> dict[str, Any]:
    if not isinstance(value, dict) or len(value) > NAMES_MAX:
        raise _nonsense(method, "a struct")
    return value


def _texts(value: object, method: str) -> dict[str, str]:
    found = _struct(value, method)
    if not all(isinstance(each, str) and len(each) <= TEXT_MAX for each in found.values()):
        raise _nonsense(method, "texts by name")
    return found


def _text(value: object) -> str:
    """What a peer says, fit to be shown."""
    if not isinstance(value, str | int | float):
        return ""
    return "".join(each if each.isprintable() else "?" for each in str(value)[:TEXT_MAX])


def _when(value: object) -> str:
    """A time in seconds since the epoch, in RFC 3339."""
    if not isinstance(value, int | float) or not 0 < value < _TIME_MAX:
        return ""
    return rfc3339(value)


def rfc3339(seconds: float) -> str:
    """A time in seconds since the epoch, for people and programs."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _nonsense(method: str, what: str) -> SyncError:
    return SyncError(
        Cause.NONSENSE,
        f"the answer of {method} is not what this version expects ({what})",
        hint="Run the same version on both nodes.",
    )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - SHOWN_MAX
    return ", ".join(names[:SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")


def _dotted(api: tuple[int, int]) -> str:
    return ".".join(map(str, api))
