"""What nodes tell each other about leases, as JSON in the calls of `appliance.rpc`. Pure.

Three calls: `HELLO` says who is there and what each side has got of the other, `CHANGES` brings leases as they are
granted, `PAGE` asks for a part of all leases.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance_dhcp_failover import leases
from appliance_dhcp_failover.leases import BadLease, Lease

HELLO, CHANGES, PAGE = "dhcp.hello", "dhcp.changes", "dhcp.page"
MESSAGE_MAX = 4 * 1024 * 1024
"""Bytes."""
PAGE_LEASES = 1000
CHANGES_MAX = 256
"""Changes in one call."""
POOLS_MAX = 256
TEXT_MAX = 256


class BadMessage(ValueError):  # noqa: N818 - a condition
    """Not a message; from another node, so it is counted and answered with a fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSummary:
    """What a node says of one of its pools."""

    state: str
    leases: int = 0
    digest: str = ""
    """Of all leases (`leases.digest`), while nothing changes; empty otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Who is there."""

    node: str
    wall: float
    """Its time of day, seconds since 1970."""
    epoch: str
    """Names its stream of changes to the receiver; another one: some were not delivered, ask for all."""
    pulled: str
    """The receiver's epoch of which the sender has everything."""
    pools: Mapping[str, PoolSummary] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A lease that was granted, renewed, or, when `gone`, given back."""

    interface: str
    lease: Lease
    gone: bool = False


def encode_hello(hello: Hello) -> bytes:
    """For a call or an answer."""
    return _dump({
        "node": hello.node, "wall": hello.wall, "epoch": hello.epoch, "pulled": hello.pulled,
        "pools": {
            name: {"state": each.state, "leases": each.leases, "digest": each.digest}
            for name, each in hello.pools.items()
        },
    })  # fmt: skip


def decode_hello(raw: object) -> Hello:
    """Raises `BadMessage`."""
    told = _load(raw)
    pools = told.get("pools")
    if not isinstance(pools, dict) or len(pools) > POOLS_MAX:
        raise BadMessage("its pools are none")
    return Hello(
        node=_text(told, "node"),
        wall=_number(told, "wall"),
        epoch=_text(told, "epoch"),
        pulled=_text(told, "pulled"),
        pools={str(name)[:TEXT_MAX]: _summary(each) for name, each in pools.items()},
    )


def encode_changes(changes: list[Change], now: float, node: str) -> bytes:
    """Of at most `CHANGES_MAX`."""
    return _dump({
        "changes": [
            {"interface": each.interface, "gone": each.gone, "lease": leases.to_peer(each.lease, now, node)}
            for each in changes
        ]
    })  # fmt: skip


def decode_changes(raw: object, now: float) -> list[Change]:
    """Raises `BadMessage`."""
    told = _load(raw).get("changes")
    if not isinstance(told, list) or len(told) > CHANGES_MAX:
        raise BadMessage("its changes are none, or too many")
    return [_change(each, now) for each in told]


def encode_page(table: list[Lease], following: str, now: float, node: str) -> bytes:
    """A part of all leases of a pool; `following` asks for the next one, empty: that was all."""
    return _dump({"leases": [leases.to_peer(each, now, node) for each in table], "next": following})


def decode_page(raw: object, now: float) -> tuple[list[Lease], str]:
    """Raises `BadMessage`."""
    told = _load(raw)
    table = told.get("leases")
    if not isinstance(table, list) or len(table) > PAGE_LEASES:
        raise BadMessage("its leases are none, or too many")
    try:
        return [leases.from_peer(each, now) for each in table], _text(told, "next")
    except BadLease as error:
        raise BadMessage(str(error)) from None


def encode_ask(interface: str, after: str) -> bytes:
    """Asks for the page after this address."""
    return _dump({"interface": interface, "after": after})


def decode_ask(raw: object) -> tuple[str, str]:
    """Interface and address. Raises `BadMessage`."""
    told = _load(raw)
    return _text(told, "interface"), _text(told, "after")


def encode_refused(refused: list[Change], now: float, node: str) -> bytes:
    """The answer to changes: what has been given to others here."""
    return encode_changes(refused, now, node)


def _change(told: object, now: float) -> Change:
    if not isinstance(told, dict) or not isinstance(told.get("gone"), bool):
        raise BadMessage("a change is none")
    try:
        lease = leases.from_peer(told.get("lease"), now)
    except BadLease as error:
        raise BadMessage(str(error)) from None
    return Change(interface=_text(told, "interface"), lease=lease, gone=told["gone"])


def _summary(told: object) -> PoolSummary:
    if not isinstance(told, dict):
        raise BadMessage("a pool is none")
    return PoolSummary(state=_text(told, "state"), leases=int(_number(told, "leases")), digest=_text(told, "digest"))


def _dump(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _load(raw: object) -> dict[str, Any]:
    if not isinstance(raw, bytes) or len(raw) > MESSAGE_MAX:
        raise BadMessage("no message, or too large")
    try:
        told = json.loads(raw)
    except (ValueError, RecursionError):
        raise BadMessage("no JSON") from None
    if not isinstance(told, dict):
        raise BadMessage("no object")
    return told


def _text(told: Mapping[str, Any], name: str) -> str:
    value = told.get(name)
    if not isinstance(value, str) or len(value) > TEXT_MAX:
        raise BadMessage(f"{name} is no text, or too long")
    return value


def _number(told: Mapping[str, Any], name: str) -> float:
    value = told.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**48:
        raise BadMessage(f"{name} is no number")
    return float(value)
